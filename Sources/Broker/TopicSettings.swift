// A topic's effective settings in the terms of the rooms that act on them.

import Metadata
import Model
import Records
import Storage

extension EffectiveTopicConfig {
    func logSettings(_ bug: PlantedBug) -> LogSettings {
        LogSettings(segmentBytes: Int64(segmentBytes), segmentMs: segmentMs, delaysRemoval: true, plantedBug: bug)
    }

    var timestampIsLogAppendTime: Bool { timestampType == .logAppendTime }

    var produceChecks: ProduceChecks {
        ProduceChecks(
            maxMessageBytes: maxMessageBytes, timestampBeforeMaxMs: timestampBeforeMaxMs,
            timestampAfterMaxMs: timestampAfterMaxMs, timestampTypeIsLogAppend: timestampIsLogAppendTime)
    }
}
