// The scrub: reads all logs again, a little at a time, so that damage is found before a reader needs what is damaged,
// and while the other copies are still whole.

import Model
import Storage

/// How far the scrub has come.
struct Scrub {
    /// Nil: it rests until `nextPassAt`.
    var at: TopicPartition?
    var cursor: ScrubCursor?
    var nextPassAt: Instant
    var isUnderWay: Bool { at != nil }

    init(firstPassAt: Instant) { nextPassAt = firstPassAt }
}

extension Shard {
    static let scrubTickMs: Int64 = 100
    /// A log that is read is looked at again when this has passed: what was in memory then may not be now.
    static let proofMs: Int64 = 60_000
    /// With very many partitions most are empty; looking at one takes time too.
    private static let scrubbedReplicasMax = 100

    /// An idle node is not woken for a scrub that rests.
    var nextScrubAt: Instant {
        guard configuration.log.scrubBytesPerSecond > 0 else { return reading.now.advanced(byMs: Self.proofMs) }
        return scrub.isUnderWay
            ? reading.now.advanced(byMs: Self.scrubTickMs)
            : min(max(scrub.nextPassAt, reading.now.advanced(byMs: 1)), reading.now.advanced(byMs: Self.proofMs))
    }

    func runScrub() {
        guard !isStopping else { return }
        if reading.now >= proofsForgottenAt.advanced(byMs: Self.proofMs) {
            proofsForgottenAt = reading.now
            for replica in replicas.values { replica.log.forgetProofs() }
        }
        guard configuration.log.scrubBytesPerSecond > 0 else { return }
        if !scrub.isUnderWay {
            guard reading.now >= scrub.nextPassAt else { return }
            scrub.at = replicas.keys.first
            scrub.cursor = nil
            scrub.nextPassAt = reading.now.advanced(byMs: configuration.log.scrubIntervalMs)
        }
        var left = max(1, configuration.log.scrubBytesPerSecond * Self.scrubTickMs / 1_000 / Int64(shardCount))
        var visited = 0
        while left > 0, visited < Self.scrubbedReplicasMax {
            guard let key = scrub.at else { return }
            guard let replica = replicas[key], repairs[key] == nil else {
                leave(key)
                continue
            }
            let damages = replica.log.damages.count
            let (next, readBytes) = replica.log.scrub(from: scrub.cursor, maxBytes: Int(min(left, 1 << 20)))
            left -= Int64(max(readBytes, 1))
            if next == nil {
                leave(key)
                visited += 1
            } else {
                scrub.cursor = next
            }
            if replica.log.damages.count > damages { damageFound(in: replica) }
        }
    }

    private func leave(_ key: TopicPartition) {
        // The key itself may be gone.
        var next = replicas.lowerBound(key)
        if next < replicas.count, replicas.keys[next] == key { next += 1 }
        scrub.at = next < replicas.count ? replicas.keys[next] : nil
        scrub.cursor = nil
    }
}
