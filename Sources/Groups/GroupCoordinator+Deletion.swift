// Groups and offsets that go: on request, because they ran out, or because their topic is gone.

import Model
import Wire

/// A DeleteGroups on its way through the groups that it names.
struct GroupDeletion: Equatable, Sendable {
    var ticket: GroupTicket
    /// The next one last.
    var remaining: [String]
    var results: [DeleteGroupsResponse.Result] = []
    /// The group whose tombstones are being written.
    var underWay: String?
    /// The end offset of what was written for it.
    var end: Offset = 0
}

/// A group to look at for offsets that are to go.
struct Sweep: Equatable, Sendable {
    var group: String
    /// Nil: whatever ran out.
    var topic: TopicGone?
}

/// A topic that is no more, and how far the log can have offsets of it.
struct TopicGone: Equatable, Sendable {
    var name: String
    /// Nil: there was none of that name at all.
    var id: UUID128?
    /// Also commits that do not say which topic of that name they mean.
    var withoutID = true
    /// What was appended behind it was committed to a later topic of that name.
    var end: Offset
}

extension GroupCoordinator {
    // MARK: On request

    /// Deletes the next of the groups, in as many appends as its offsets need; answers after the last.
    mutating func goOn(
        with deletion: GroupDeletion, refused: ErrorCode? = nil, at reading: ClockReading,
        into effects: inout [GroupEffect]
    ) {
        var deletion = deletion
        var refused = refused
        while let id = deletion.remaining.last {
            if let error = refused {
                deletion.results.append(.init(id, error.told(tooLarge: .unknownServerError)))
            } else if deletion.underWay == id, groups[id] == nil {
                deletion.end = max(deletion.end, vanishedEnd)
                deletion.results.append(.init(id, .none))
            } else if let error = deletionRefusal(id) {
                deletion.end = max(deletion.end, groups[id]?.metadataEnd ?? vanishedEnd)
                deletion.results.append(error)
            } else {
                deletion.underWay = id
                let isGone = with(id, at: reading, into: &effects) { $0.delete(deletion, &$1) }
                if !isGone { return }
                deletion.results.append(.init(id, .none))
            }
            refused = nil
            deletion.underWay = nil
            deletion.remaining.removeLast()
        }
        var response = DeleteGroupsResponse()
        response.results = deletion.results
        reply(deletion.ticket, .deleteGroups(response), after: deletion.end, at: reading.now, into: &effects)
    }

    private func deletionRefusal(_ id: String) -> DeleteGroupsResponse.Result? {
        guard let group = groups[id] else { return .init(id, .groupIdNotFound, "There is no group \(id).") }
        guard !group.hasMembers else {
            return .init(id, .nonEmptyGroup, "The group \(id) has members.")
        }
        return nil
    }

    // MARK: In time

    /// The metadata says that these topics are gone.
    package mutating func topicsDeleted(_ topics: [KnownTopic], at reading: ClockReading) {
        guard phase == .active else { return }
        let before = sweeps.count
        for id in groups.keys.sorted() {
            for topic in topics where groups[id]?.offsets.has(topic.name) == true {
                sweeps.append(Sweep(group: id, topic: TopicGone(name: topic.name, id: topic.id, end: lastEnd)))
            }
        }
        if sweeps.count > before { sweepAt = min(sweepAt, reading.now) }
    }

    /// What was loaded may tell of topics that went before this coordinator could hear of it. The metadata that made
    /// this node the leader is newer than any that a commit in the log was checked against: what it does not have is
    /// gone.
    mutating func sweepTopicsGone(_ topics: any TopicLookup, at now: Instant) {
        for id in groups.keys.sorted() {
            guard let offsets = groups[id]?.offsets else { continue }
            for name in offsets.topicNames {
                if let known = topics.topic(named: name) {
                    for old in offsets.topicIDs(of: name) where old != known.id {
                        let gone = TopicGone(name: name, id: old, withoutID: false, end: lastEnd)
                        sweeps.append(Sweep(group: id, topic: gone))
                    }
                } else {
                    sweeps.append(Sweep(group: id, topic: TopicGone(name: name, end: lastEnd)))
                }
            }
        }
        if !sweeps.isEmpty { sweepAt = now }
    }

    /// Looks at the next groups; begins anew with all of them when an interval has passed.
    mutating func sweep(at reading: ClockReading, into effects: inout [GroupEffect]) {
        if sweeps.isEmpty { sweeps = groups.keys.sorted().map { Sweep(group: $0) } }
        let due = sweeps.prefix(settings.expiryGroupsPerTick)
        sweeps.removeFirst(due.count)
        for one in due {
            guard let group = groups[one.group] else { continue }
            // Its turn comes again: something of it is being written, or there was more than fits an append.
            let before = lastDecision
            if !group.isWriting {
                with(one.group, at: reading, into: &effects) { group, step in
                    if let topic = one.topic { group.topicDeleted(topic, &step) } else { group.expire(&step) }
                }
            }
            if group.isWriting || lastDecision != before { sweeps.append(one) }
        }
        sweepAt = reading.now.advanced(
            byMs: sweeps.isEmpty ? settings.offsetsRetentionCheckIntervalMs : Self.sweepPauseMs)
    }

    /// Between two looks while there is something to remove.
    static let sweepPauseMs: Int64 = 20
    /// After an append was refused.
    static let sweepBackoffMs: Int64 = 30_000
}

extension Group {
    /// Writes the next tombstones, the group's own with the last.
    mutating func delete(_ deletion: GroupDeletion, _ step: inout GroupStep) {
        // Mutant: the next coordinator knows the group again (G2).
        if step.settings.plantedBug == .groupDeletionNotWritten {
            self = Group(id)
            return
        }
        var records = offsetTombstones(offsets.keys { _, _ in true }, step.settings)
        if records.count == offsets.count {
            pendingMembers.removeAll()
            records += endRecords
        }
        if !records.isEmpty { step.write = GroupWrite(records: records, then: .deleting(deletion)) }
    }
}
