// Retention: on a timer, each leader looks which of its segments are too old or too many. Followers delete what their
// leader has them delete, and nothing by themselves.

import Model
import Replication
import Storage

extension Shard {
    /// Every `log.retention.check.interval.ms`.
    func checkRetention() {
        guard !isStopping else { return }
        for replica in replicas.values where replica.isLeader && replica.settings.deletes {
            let settings = RetentionSettings(
                retentionMs: replica.settings.retentionMs, retentionBytes: replica.settings.retentionBytes)
            let segments = replica.log.segmentSummaries.map {
                RetainedSegment(baseOffset: $0.baseOffset, nextOffset: $0.nextOffset, sizeBytes: $0.sizeBytes)
            }
            do {
                let start = try settings.start(
                    segments: segments, highWatermark: replica.partition.highWatermark, wallMs: reading.wallMs,
                    timestamp: { try replica.log.retentionTimestamp(ofSegmentAt: $0) })
                guard let start, start > replica.partition.startForFollowers(log: replica.logView) else { continue }
                log(.notice, "\(replica.name): retention deletes records below offset \(start)")
                perform(on: replica) { $0.startRequested(start, log: replica.logView, at: reading.now, into: &$1) }
            } catch let error as LogError {
                logFailed(replica, error)
            } catch {
                log(.error, "\(replica.name): \(error)")
            }
        }
    }

    /// Files of removed segments whose `file.delete.delay.ms` is over.
    func purgeRemovedSegments() {
        for replica in replicas.values where replica.log.hasRemovedSegments {
            let delayMs = min(replica.settings.fileDeleteDelayMs, 1 << 40)
            let closed = replica.log.purgeRemoved(at: reading.now, delayMs: delayMs)
            if !closed.isEmpty { closeReaders(of: closed) }
        }
    }
}
