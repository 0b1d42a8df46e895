// A topic's effective settings in the terms of the rooms that act on them.

import Metadata
import Records
import Storage

extension EffectiveTopicConfig {
    var logSettings: LogSettings {
        LogSettings(segmentBytes: Int64(segmentBytes), segmentMs: segmentMs, delaysRemoval: true)
    }

    var timestampIsLogAppendTime: Bool { timestampType == .logAppendTime }

    var produceChecks: ProduceChecks {
        ProduceChecks(
            maxMessageBytes: maxMessageBytes, timestampBeforeMaxMs: timestampBeforeMaxMs,
            timestampAfterMaxMs: timestampAfterMaxMs, timestampTypeIsLogAppend: timestampIsLogAppendTime)
    }
}
