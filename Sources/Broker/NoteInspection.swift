// What fetch rounds leave alone because nobody took note of it (docs/decisions/0026), looked at from outside: a
// forgotten note is a stall that no answer shows.

import Model

package struct NoteInspection {
    /// Partitions that a follower's next question leaves out.
    package internal(set) var unasked = 0
    /// Targets that a leader's next answer leaves out.
    package internal(set) var untold = 0
    /// Those of them that had moved or had news, in words.
    package internal(set) var missed: [String] = []
}

extension Shard {
    /// Between two steps.
    package func inspectNotes() -> NoteInspection {
        var found = NoteInspection()
        // A shard that stops lets go of all at once, and asks and answers no more.
        guard !isStopping else { return found }
        for fetcher in fetchers.values { inspect(fetcher, &found) }
        // With several shards a round looks at all.
        if shardCount == 1 {
            for session in sessions.all { inspect(session, &found) }
        }
        return found
    }

    private func inspect(_ fetcher: Fetcher, _ found: inout NoteInspection) {
        let noted = Set(fetcher.noted)
        for key in fetcher.partitions.keys where fetcher.resting[key] == nil && !noted.contains(key) {
            guard let replica = replicas[key], let position = nextPosition(of: replica) else { continue }
            found.unasked += 1
            if fetcher.told[key]?.position != position {
                found.missed.append("\(replica.name) is to be fetched from \(position)")
            }
        }
        for key in fetcher.told.keys
        where !noted.contains(key) && (fetcher.partitions[key] == nil || fetcher.resting[key] != nil) {
            found.missed.append("\(key) is not fetched any more")
        }
    }

    private func inspect(_ session: FetchSession, _ found: inout NoteInspection) {
        let noted = Set(session.noted)
        for (slot, target) in session.targets.enumerated() where !noted.contains(slot) {
            guard let target else { continue }
            found.untold += 1
            if let news = news(of: target) { found.missed.append("\(target.topicPartition) \(news)") }
        }
    }

    /// What an answer would say that the last one did not.
    private func news(of target: FetchTarget) -> String? {
        guard target.unknown == nil, let replica = replicas[target.topicPartition], replica.isLeader else {
            return "is not led here"
        }
        let partition = replica.partition
        if target.currentLeaderEpoch >= 0, target.currentLeaderEpoch != partition.leaderEpoch {
            return "is in leader epoch \(partition.leaderEpoch), not \(target.currentLeaderEpoch)"
        }
        if target.told.highWatermark != partition.highWatermark {
            return "has the high watermark \(partition.highWatermark), told was \(target.told.highWatermark)"
        }
        // Only followers name theirs.
        let isFollower = target.logStartOffset >= 0
        let start = isFollower ? partition.startForFollowers(log: replica.logView) : replica.visibleStart
        if target.told.logStartOffset != start { return "starts at \(start), told was \(target.told.logStartOffset)" }
        if isFollower, replica.settings.compacts, target.told.cleanedByAll != cleanedByAll(replica) {
            return "is clean up to \(cleanedByAll(replica)), told was \(target.told.cleanedByAll)"
        }
        let end = isFollower ? replica.log.endOffset : partition.highWatermark
        // A consumer is given no batches without records.
        if target.fetchOffset < end, isFollower || !replica.log.holdsEmptyBatches {
            return "has records at \(target.fetchOffset)"
        }
        return nil
    }
}
