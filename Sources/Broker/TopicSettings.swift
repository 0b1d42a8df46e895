// A topic's effective settings in the terms of the rooms that act on them.

import Metadata
import Model
import Records
import Storage

extension EffectiveTopicConfig {
    func logSettings(_ bug: PlantedBug) -> LogSettings {
        LogSettings(
            segmentBytes: Int64(segmentBytes),
            // Only closed segments are compacted.
            segmentMs: compacts ? min(segmentMs, maxCompactionLagMs) : segmentMs, delaysRemoval: true,
            isCompacted: compacts, plantedBug: bug)
    }

    var cleaning: CleaningSettings {
        CleaningSettings(
            minCleanableDirtyRatio: minCleanableDirtyRatio, minCompactionLagMs: minCompactionLagMs,
            maxCompactionLagMs: maxCompactionLagMs, deleteRetentionMs: deleteRetentionMs)
    }

    var timestampIsLogAppendTime: Bool { timestampType == .logAppendTime }

    var produceChecks: ProduceChecks {
        ProduceChecks(
            maxMessageBytes: maxMessageBytes, timestampBeforeMaxMs: timestampBeforeMaxMs,
            timestampAfterMaxMs: timestampAfterMaxMs, timestampTypeIsLogAppend: timestampIsLogAppendTime,
            requiresKeys: compacts)
    }
}
