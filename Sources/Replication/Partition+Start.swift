// Where the log starts: what a leader wants deleted, and when that may be shown.
//
// The log start goes the way of the high watermark. The leader decides on a target and tells its followers, with the
// answers to their fetches. Each raises its own start and says so with its next fetch. When all of the maximal ISR have
// reached it, it is agreed on: the leader raises its own, and only an agreed start is shown to clients. So every
// replica that may lead next has deleted at least what was shown as deleted, and no chain of failovers brings anything
// back (S7). A new leader may begin with a start that its followers lack: until they have reached it too, what lies
// below is neither readable nor told to be gone. A start is in the log only once it is on disk: that is the shell's
// part.

import Model

extension Partition {
    /// Records below `offset` are to go: a DeleteRecords, or retention. Never more than is committed.
    package mutating func startRequested(
        _ offset: Offset, log: LogView, at now: Instant, into effects: inout [PartitionEffect]
    ) {
        guard role == .leader else { return }
        let target = min(offset, highWatermark)
        guard target > startForFollowers(log: log) else { return }
        startTarget = target
        if followers.count > 0 { effects.append(.wakeFetches) }
        advanceLeaderStart(log, into: &effects)
    }

    /// The log's start moved: what was asked for under an earlier role too.
    package mutating func startMoved(log: LogView, at now: Instant, into effects: inout [PartitionEffect]) {
        advanceLeaderStart(log, into: &effects)
    }

    /// The log start that a replica's fetch is answered with.
    package func startForFollowers(log: LogView) -> Offset { max(startTarget, log.startOffset) }

    /// The log start that clients may be told; nil: not yet agreed on.
    package func visibleStart(log: LogView) -> Offset? {
        log.startOffset == 0 || startAgreed >= log.startOffset ? log.startOffset : nil
    }

    /// While the committed ISR is below its minimum, members of an earlier one may still be elected (KIP-966), and what
    /// they hold is not known: then nothing is agreed on, as the high watermark stays.
    mutating func advanceLeaderStart(_ log: LogView, into effects: inout [PartitionEffect]) {
        let target = startForFollowers(log: log)
        guard role == .leader, target > startAgreed, isr.count >= effectiveMinISR else { return }
        var least = target
        for id in maximalISR where id != me { least = min(least, followers[id]?.logStartOffset ?? -1) }
        guard least > startAgreed else { return }
        startAgreed = least
        if least >= log.startOffset { effects.append(.advanceStart(to: least)) }
    }

    /// Whether a follower has deleted all that clients were, or are about to be, told is deleted.
    func hasDeletedEnough(_ progress: FollowerProgress, log: LogView) -> Bool {
        progress.logStartOffset >= max(startAgreed, log.startOffset)
    }
}
