// What a reader of a group has in its hands: given out, and not yet dealt with until it comes back for more.

import Model

/// The account of one reader. Positions are committed up to what it came back from: what it holds when it dies is given
/// out again.
struct HandedOut: Sendable {
    struct Held: Sendable {
        let id: Int
        let partition: TopicPartition
        let first: Offset
        var last: Known
    }

    /// Which epoch the record before an offset is of: of no other offset is it true.
    struct Known: Sendable {
        let epoch: LeaderEpoch
        let next: Offset
    }

    private(set) var held: Held?
    private var lastID = 0
    /// Of the last record that was dealt with.
    var epochs: [TopicPartition: Known] = [:]

    /// Nil where the record before `offset` is not the last one that was dealt with: an empty batch, or a seek.
    func epoch(before offset: Offset, of partition: TopicPartition) -> LeaderEpoch? {
        guard let known = epochs[partition], known.next == offset else { return nil }
        return known.epoch.unlessNegative
    }

    mutating func letGo(of partition: TopicPartition) {
        if held?.partition == partition { held = nil }
        epochs[partition] = nil
    }

    mutating func add(_ partition: TopicPartition, _ first: ConsumerRecord, _ last: ConsumerRecord) {
        settle()
        lastID += 1
        held = Held(
            id: lastID, partition: partition, first: first.offset,
            last: Known(epoch: last.leaderEpoch, next: last.offset + 1))
    }

    /// The batches of a partition up to `known` hold no further records.
    mutating func finished(_ partition: TopicPartition, _ known: Known) {
        if held?.partition == partition { held?.last = known } else { epochs[partition] = known }
    }

    /// The reader came back.
    mutating func settle() {
        guard let held else { return }
        epochs[held.partition] = held.last
        self.held = nil
    }
}

/// What reading of partitions came to when they were given up.
struct GivenUp: Sendable {
    /// With what the reader holds dealt with.
    var positions = SortedMap<TopicPartition, OffsetAndMetadata>()
    /// Where it stands as long as that is not so.
    var held: (id: Int, partition: TopicPartition, position: OffsetAndMetadata)?
}

extension Consumer {
    func keepAccount() { state.withLockedValue { $0.handedOut = HandedOut() } }

    /// What was given out is dealt with.
    func settle() { state.withLockedValue { $0.handedOut?.settle() } }

    /// What it holds of this is no measure of where reading stands any more.
    func letGo(of partition: TopicPartition) { state.withLockedValue { $0.handedOut?.letGo(of: partition) } }

    func isAssigned(_ partition: TopicPartition) -> Bool {
        state.withLockedValue { $0.machine.assignments[partition] != nil }
    }

    var isClosed: Bool { state.withLockedValue { $0.isClosed } }

    func isHeld(_ id: Int) -> Bool { state.withLockedValue { $0.handedOut?.held?.id == id } }

    /// Where reading of each partition stands; without what the reader holds.
    func settledPositions(of partitions: [TopicPartition]) -> SortedMap<TopicPartition, OffsetAndMetadata> {
        state.withLockedValue { state in
            var found = state.positions(of: partitions)
            if let held = found.held { found.positions[held.partition] = held.position }
            return found.positions
        }
    }

    /// Starts reading; `epoch` is that of the record before `start`, −1 where it is not known.
    func begin(_ partition: TopicPartition, from start: StartPosition, epoch: LeaderEpoch, isPaused: Bool) {
        state.withLockedValue { state in
            state.drop(partition)
            state.handedOut?.letGo(of: partition)
            if case .offset(let offset) = start, epoch >= 0 {
                state.machine.resume(partition, at: offset, epoch: epoch)
                state.handedOut?.epochs[partition] = HandedOut.Known(epoch: epoch, next: offset)
            } else {
                state.machine.seek(partition, to: start)
            }
            if isPaused { state.machine.pause(partition, true) }
        }
        drainSoon()
    }

    /// Ends reading of a partition with an error that a seek goes on from.
    func refuse(_ partition: TopicPartition, _ error: ClientError) {
        state.withLockedValue { state in
            state.machine.seek(partition, to: .earliest)
            state.machine.stop(partition, error)
        }
        wakeReaders()
    }

    /// Stops reading these.
    func giveUp(_ partitions: [TopicPartition]) -> GivenUp {
        defer { drainSoon() }
        return state.withLockedValue { state in
            let found = state.positions(of: partitions)
            for partition in partitions {
                state.drop(partition)
                state.machine.unassign(partition)
                state.handedOut?.epochs[partition] = nil
            }
            return found
        }
    }

    /// Nothing is read any more, and every reader is told why.
    func end(with error: ClientError) {
        state.withLockedValue { $0.ending = error }
        wakeReaders()
    }
}

extension Consumer.State {
    fileprivate func positions(of partitions: [TopicPartition]) -> GivenUp {
        var found = GivenUp()
        let held = handedOut?.held
        for partition in partitions {
            guard let known = machine.assignments[partition], known.consumed >= 0 else { continue }
            if let held, held.partition == partition {
                // The log may have been cut off before what is held.
                let first = min(held.first, known.consumed)
                let before = OffsetAndMetadata(first, leaderEpoch: handedOut?.epoch(before: first, of: partition))
                found.held = (held.id, partition, before)
                found.positions[partition] = OffsetAndMetadata(
                    known.consumed,
                    leaderEpoch: held.last.next == known.consumed ? held.last.epoch.unlessNegative : nil)
            } else {
                found.positions[partition] = OffsetAndMetadata(
                    known.consumed, leaderEpoch: handedOut?.epoch(before: known.consumed, of: partition))
            }
        }
        return found
    }
}
