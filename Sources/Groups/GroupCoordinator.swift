// The coordinator of the groups of one partition of `__consumer_offsets`, as a value beside that partition's log.

import Model
import NIOCore
import Wire

/// Inputs are past-tense calls; effects are appended in the order to run them. The groups are a fold of the partition's
/// records and of what is only in memory: who waits, and until when. No answer leaves before all that it tells is
/// committed, so that no failover takes back what a client was told.
package struct GroupCoordinator: Equatable, Sendable {
    package enum Phase: Hashable, Sendable {
        /// The partition is led here, and its records are being read.
        case loading
        case active
        /// The partition is led elsewhere. The coordinator is of no use any more.
        case resigned
    }

    package let partition: PartitionIndex
    package let settings: GroupSettings
    package internal(set) var phase = Phase.loading
    package internal(set) var groups: [String: Group] = [:]
    /// All below is committed.
    package private(set) var committed: Offset = 0

    var random: SeededRandom
    /// Requests that are not answered yet.
    var open: [GroupTicket: GroupCall] = [:]
    var held = HeldReplies()
    var deadlines = DeadlineQueue()
    /// Appends whose outcome is not known; none between two inputs.
    var decisions = SortedMap<DecisionID, Decision>()
    var lastDecision = DecisionID(0)
    /// The end of what was appended or loaded, and of the last record that made a group vanish.
    var lastEnd: Offset = 0
    var vanishedEnd: Offset = 0
    /// Groups to look at for offsets that are to go, and when to go on with it.
    var sweeps: [Sweep] = []
    var sweepAt = Instant.distantFuture
    /// Counts what happened to topics, and what expressions name since the last of it.
    var topicsRevision: UInt64 = 1
    var patterns = PatternNames()
    var handshakes = Handshakes()

    struct Decision: Equatable, Sendable {
        var group: String
        var write: GroupWrite
    }

    /// How much later than wanted a tick may come before it means that the loop stood still.
    package static let stallMs: Int64 = 250

    /// - Parameter seed: must differ from one term of leadership to the next, or member ids come back.
    package init(partition: PartitionIndex, settings: GroupSettings, seed: UInt64) {
        self.partition = partition
        self.settings = settings
        random = SeededRandom(seed: seed)
    }

    /// When `ticked` has something to do.
    package var nextDeadline: Instant {
        min(deadlines.first, sweepAt, held.deadline(afterMs: settings.offsetsCommitTimeoutMs))
    }

    // MARK: Loading

    /// A record of the partition's log, in the log's order.
    package mutating func loaded(_ record: GroupRecord) {
        guard phase == .loading else { return }
        switch record {
        case .offsetCommit(let key, let value):
            if let value {
                groups[key.groupID, default: Group(key.groupID)].offsets.take(
                    CommittedOffset(value), key.topic, key.partition)
            } else {
                groups[key.groupID]?.offsets.take(nil, key.topic, key.partition)
            }
        case .groupMetadata(let key, let value): groups[key.groupID, default: Group(key.groupID)].load(value)
        case .consumerGroupMetadata(let key, nil): groups[key.groupID]?.consumer = nil
        case .consumerGroupMetadata(let key, _): loadConsumer(record, of: key.groupID, exists: true)
        case .consumerGroupMemberMetadata(let key, let value):
            loadConsumer(record, of: key.groupID, exists: value != nil)
        case .consumerGroupTargetAssignmentMetadata(let key, let value):
            loadConsumer(record, of: key.groupID, exists: value != nil)
        case .consumerGroupTargetAssignmentMember(let key, let value):
            loadConsumer(record, of: key.groupID, exists: value != nil)
        case .consumerGroupCurrentMemberAssignment(let key, let value):
            loadConsumer(record, of: key.groupID, exists: value != nil)
        // What expressions name is looked up anew; what is not known is for a build that knows it.
        case .consumerGroupRegularExpression, .unknown: break
        }
    }

    private mutating func loadConsumer(_ record: GroupRecord, of id: String, exists: Bool) {
        if exists, groups[id]?.consumer == nil {
            var consumer = ConsumerGroup()
            consumer.isKnown = false
            groups[id, default: Group(id)].consumer = consumer
        }
        groups[id]?.consumer?.load(record)
    }

    /// All records up to `endOffset` are loaded. They need not be committed; answers that tell of them wait for that.
    /// - Parameter topics: what exists now. Offsets of topics that went while nobody coordinated here are removed.
    package mutating func loadEnded(
        endOffset: Offset, topics: any TopicLookup, at reading: ClockReading, into effects: inout [GroupEffect]
    ) {
        guard phase == .loading else { return }
        phase = .active
        lastEnd = endOffset
        vanishedEnd = endOffset
        if settings.plantedBug == .loadedCountsAsCommitted { committed = endOffset }
        for id in groups.keys.sorted() {
            with(id, at: reading, into: &effects) { $0.loadEnded(endOffset: endOffset, &$1) }
        }
        sweepAt = reading.now.advanced(byMs: settings.offsetsRetentionCheckIntervalMs)
        sweepTopicsGone(topics, at: reading.now)
    }

    // MARK: The log

    /// The append was done; the partition's log ends at `endOffset` now.
    package mutating func appended(
        _ id: DecisionID, endOffset: Offset, at reading: ClockReading, into effects: inout [GroupEffect]
    ) {
        guard let decision = decisions.removeValue(forKey: id) else { return }
        lastEnd = max(lastEnd, endOffset)
        let isGone = with(decision.group, at: reading, into: &effects) { group, step in
            group.isWriting = false
            group.appended(decision.write, endOffset: endOffset, &step)
        }
        if isGone { vanishedEnd = max(vanishedEnd, endOffset) }
        if case .deleting(let deletion) = decision.write.then {
            goOn(with: deletion, at: reading, into: &effects)
        }
    }

    /// The append was not done, and nothing of it ever will be.
    package mutating func refused(
        _ id: DecisionID, _ error: ErrorCode, at reading: ClockReading, into effects: inout [GroupEffect]
    ) {
        guard let decision = decisions.removeValue(forKey: id) else { return }
        with(decision.group, at: reading, into: &effects) { group, step in
            group.isWriting = false
            group.refused(decision.write, error, &step)
        }
        switch decision.write.then {
        case .deleting(let deletion): goOn(with: deletion, refused: error, at: reading, into: &effects)
        case .offsetsExpired, .topicsRemoved: sweepAt = reading.now.advanced(byMs: Self.sweepBackoffMs)
        default: break
        }
    }

    /// The partition's high watermark moved.
    package mutating func committed(
        upTo offset: Offset, at reading: ClockReading, into effects: inout [GroupEffect]
    ) {
        guard offset > committed else { return }
        committed = offset
        releaseHeld(at: reading.now, into: &effects)
    }

    /// The partition is led elsewhere now, or is about to be.
    package mutating func resigned(into effects: inout [GroupEffect]) {
        phase = .resigned
        for ticket in open.keys.sorted() {
            guard let call = open[ticket] else { continue }
            answer(ticket, call.request.refused(.notCoordinator, version: call.version), into: &effects)
        }
        held.removeAll()
        groups.removeAll()
        deadlines.removeAll()
        decisions.removeAll()
        sweeps.removeAll()
        sweepAt = .distantFuture
        patterns.removeAll()
        handshakes = Handshakes()
    }

    // MARK: Time

    /// Time has passed `nextDeadline`.
    package mutating func ticked(at reading: ClockReading, into effects: inout [GroupEffect]) {
        guard phase == .active else { return }
        forgiveStall(at: reading.now)
        refuseHeld(at: reading.now, into: &effects)
        for id in deadlines.takeDue(at: reading.now) where groups[id] != nil {
            with(id, at: reading, into: &effects) { $0.ticked(&$1) }
        }
        if reading.now >= sweepAt { sweep(at: reading, into: &effects) }
    }

    /// A tick that comes late means that nobody was listened to meanwhile: what members said lies unread in their
    /// sockets. That time is not theirs.
    mutating func forgiveStall(at now: Instant) {
        let wanted = nextDeadline
        guard wanted < .distantFuture, now.milliseconds(since: wanted) > Self.stallMs else { return }
        let lateMs = now.milliseconds(since: wanted)
        // What is late must not be found late again by the next request.
        sweepAt = max(sweepAt, now)
        held.postpone(byMs: lateMs)
        deadlines.removeAll()
        for id in groups.keys.sorted() {
            groups[id]?.postpone(byMs: lateMs)
            if let deadline = groups[id]?.nextDeadline { deadlines.arm(id, at: deadline) }
        }
    }

    // MARK: Groups

    /// A group that is not there. One of its name may have been, and its end need not be committed: no answer about the
    /// new one leaves before that.
    func absent(_ id: String) -> Group {
        var group = Group(id)
        group.metadataEnd = vanishedEnd
        group.offsetsEnd = vanishedEnd
        return group
    }

    /// Gives a group, one that does not exist too, its input. Answers whether the group is gone after it.
    @discardableResult
    mutating func with(
        _ id: String, at reading: ClockReading, into effects: inout [GroupEffect],
        _ input: (inout Group, inout GroupStep) -> Void
    ) -> Bool {
        // Taken out, so that a change is made in place.
        var group = groups.removeValue(forKey: id) ?? absent(id)
        var step = GroupStep(
            at: reading, settings: settings, committed: committed, topicsRevision: topicsRevision, random: random)
        swap(&step.patterns, &patterns)
        input(&group, &step)
        swap(&step.patterns, &patterns)
        random = step.random
        for output in step.output {
            switch output {
            case .log(let kind): effects.append(.log(GroupEvent(group: id, kind: kind)))
            case .reply(let ticket, let response, let after):
                reply(ticket, response, after: after, at: reading.now, into: &effects)
            }
        }
        if let write = step.write {
            precondition(!group.isWriting, "the outcome of an append comes before the next input")
            group.isWriting = true
            lastDecision = DecisionID(lastDecision.rawValue + 1)
            decisions[lastDecision] = Decision(group: id, write: write)
            effects.append(.append(lastDecision, write.records))
        }
        if group.isVoid {
            handshakes.settled(id)
            return true
        }
        if step.isRearmed { deadlines.arm(id, at: group.nextDeadline) }
        let strangers = group.strangers
        groups[id] = group
        if strangers > 0 { bound(id, strangers: strangers, into: &effects) } else { handshakes.settled(id) }
        return false
    }
}
