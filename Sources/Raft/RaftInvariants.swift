// What holds of a quorum member between any two inputs, for the simulator to ask after each.

import Model

extension RaftNode {
    /// What is wrong with this node's own state; empty when nothing is. Never needed by the running node.
    package func violations() -> [String] {
        var found: [String] = []
        func expect(_ holds: Bool, _ rule: String) {
            if !holds { found.append("\(key.id): \(rule)") }
        }
        expect(log.startOffset <= highWatermark, "the log begins behind its high watermark")
        expect(highWatermark <= log.endOffset, "R11: the high watermark lies beyond the log")
        expect(log.flushedEnd <= log.endOffset, "durable beyond the end")
        expect(log.startOffset == 0 || log.snapshotEnd != nil, "R10: the log begins late without a snapshot")
        expect((log.epochs.latestEpoch ?? 0) <= epoch, "records of an epoch beyond its own")
        expect(durable.epoch <= saved.epoch, "R2: the disk is ahead of the node")
        let isOrdered = zip(laterVoters, laterVoters.dropFirst()).allSatisfy { $0.offset < $1.offset }
        expect(isOrdered, "Voters records out of order")
        expect((laterVoters.last?.offset ?? -1) < log.endOffset, "Voters records beyond the log")
        expect(voters == laterVoters.last?.voters ?? baseVoters, "R8: the newest Voters record is not in force")
        let uncommitted = laterVoters.count { $0.offset >= highWatermark }
        expect(leading == nil || !isHighWatermarkOfEpoch || uncommitted <= 1, "R8: two changes of voters under way")

        expect((leading != nil) == (role == .leader), "leading and not leader, or the reverse")
        expect((canvass != nil) == (role == .prospective || role == .candidate), "a round of votes in the wrong role")
        expect(canvass.map { $0.preVote == (role == .prospective) } ?? true, "the wrong kind of votes")
        expect(role != .follower || followed != nil, "a follower of nobody")
        expect(followed == nil || role == .follower || role == .observer, "following in the wrong role")
        expect(followed == nil || followed == saved.leaderID, "following someone else than the leader")
        expect(role == .leader || (role == .observer) == !isVoter, "an observer that votes, or a voter that does not")
        expect(role != .leader || saved.voted == key, "R1: leading without its own vote")
        expect(role != .leader || durable.epoch == epoch && durable.voted == key, "R2: leading on a vote not durable")
        expect(
            role != .candidate || saved.voted == key && saved.leaderID == nil,
            "a candidate that did not vote for itself")
        expect(saved.leaderID != key.id || saved.voted == key, "R1: it led without its own vote")
        expect(
            role == .leader || role == .observer || electionDeadline < .distantFuture || isStopping
                || pendingSnapshot != nil, "L1: a voter that waits for ever")
        if let start = leading?.epochStartOffset {
            expect(
                log.epochs.entries.last == EpochHistory.Entry(epoch: epoch, startOffset: start)
                    || log.startOffset > start, "R3: a leader's own epoch is not the last in its log")
        }
        return found
    }
}
