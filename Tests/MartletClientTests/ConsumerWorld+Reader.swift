// Who reads in the consumer's world, what changes under the reader, and what must be true of what it sees.

import MartletClient
import Model
import NIOCore
import Testing

extension ConsumerWorld {
    // MARK: The cluster changes

    mutating func change() {
        guard isFaulty else {
            for index in logs.indices where logs[index].leader == nil { move(index) }
            return
        }
        let index = Int(random.below(Int64(logs.count)))
        switch random.below(10) {
        case 0...4: append(to: index, count: 1 + Int(random.below(12)))
        case 5, 6: move(index)
        case 7: logs[index].leader = nil
        default: breakConnection(NodeID(1 + random.below(3)))
        }
        schedule(.change, afterMs: 1 + random.below(80))
    }

    /// Another leader; it may hold less than the one before.
    mutating func move(_ index: Int) {
        logs[index].leader = NodeID(1 + random.below(3))
        logs[index].epoch += 1
        if random.oneIn(3) {
            let kept = Int(random.below(Int64(logs[index].records.count + 1)))
            logs[index].records.removeSubrange(max(kept, logs[index].records.count - 15)...)
        }
        append(to: index, count: Int(random.below(20)))
        let log = logs[index]
        note("\(index) moves to \(log.leader ?? -1), epoch \(log.epoch), end \(log.records.count)")
    }

    // MARK: The user

    mutating func user() {
        guard isFaulty else {
            for index in logs.indices { machine.pause(Self.name(index), false) }
            return
        }
        let index = Int(random.below(Int64(logs.count)))
        let partition = Self.name(index)
        switch random.below(5) {
        case 0:
            let offset = Offset(random.below(Int64(logs[index].records.count + 1)))
            seek(index, to: offset)
        case 1: machine.pause(partition, true)
        case 2:
            machine.unassign(partition)
            machine.seek(partition, to: .latest)
            machine.learned(topics: [view], at: now)
            (seen[index].next, seen[index].values, seen[index].isFailed) = (nil, [], false)
            note("\(index) is assigned anew")
        default: machine.pause(partition, false)
        }
        schedule(.user, afterMs: 20 + random.below(400))
    }

    mutating func seek(_ index: Int, to offset: Offset) {
        machine.seek(Self.name(index), to: .offset(offset))
        (seen[index].next, seen[index].values, seen[index].isFailed) = (offset, [], false)
        note("\(index) is sought to \(offset)")
    }

    // MARK: The reader

    mutating func read() {
        for _ in 0..<(1 + random.below(3)) {
            if let chunk = machine.takeChunk() { take(chunk) }
        }
        while let failure = machine.takeFailure() { told(failure) }
        let bound = machine.configuration.prefetchBytesMax + 3 * logs.count * 1_200
        if machine.bufferedBytes > bound { complaints.append("\(machine.bufferedBytes) bytes are fetched ahead") }
        let isAtEnd = seen.indices.allSatisfy { index in
            let next = seen[index].next ?? machine.assignments[Self.name(index)]?.position
            return next == Offset(logs[index].records.count)
        }
        let hasHadTime = now.milliseconds(since: start) > faultsMs + 5_000
        if hasHadTime, isAtEnd, !logs.contains(where: { $0.leader == nil }) {
            isDone = true
            checkWhatWasSeen()
        }
        schedule(.read, afterMs: random.below(isFaulty ? 40 : 10))
    }

    private mutating func take(_ chunk: FetchedChunk) {
        let index = Int(chunk.partition.partition)
        if !machine.isCurrent(chunk) { complaints.append("a chunk of an older generation is given out") }
        if machine.assignments[chunk.partition]?.isPaused == true { complaints.append("a paused partition is given") }
        guard let records = try? chunk.records() else { return complaints.append("unreadable") }
        for record in records {
            if let next = seen[index].next, next != record.offset {
                complaints.append("\(index): offset \(record.offset) is given out instead of \(next)")
            }
            let value = record.value.flatMap { $0.getInteger(at: $0.readerIndex, as: Int.self) } ?? -1
            seen[index].values.append((record.offset, value))
            seen[index].next = record.offset + 1
        }
        machine.consumed(chunk.partition, generation: chunk.generation, upTo: chunk.nextOffset)
    }

    private mutating func told(_ failure: ClientError) {
        note("told: \(failure)")
        switch failure {
        case .logTruncated(_, let partition, let position, let divergedAt):
            let index = Int(partition)
            truncationsTold += 1
            // Only what was compared with this very leader can be judged; a later one may hold less.
            let common = commonEnd(index)
            let hasSeenMore = (seen[index].values.first?.offset ?? common) < common
            if divergedAt < common, hasSeenMore {
                complaints.append("\(index) diverges at \(common), and not at \(divergedAt)")
            }
            if let next = seen[index].next, position != next {
                complaints.append("\(index): told of position \(position) at \(next)")
            }
            if divergedAt >= position { complaints.append("a truncation above what was given out is told") }
            seek(index, to: min(divergedAt, common))
        case .positionOutOfRange(_, let partition, _):
            // A seek to an end that was cut off since: nothing was read there, so nothing could be compared.
            let index = Int(partition)
            if !seen[index].values.isEmpty { complaints.append("\(index): out of range after records were read") }
            seek(index, to: Offset(logs[index].records.count))
        default: complaints.append("told: \(failure)")
        }
    }

    /// Up to where what was seen stands in the log.
    private func commonEnd(_ index: Int) -> Offset {
        let records = logs[index].records
        let gone = seen[index].values.first {
            Int($0.offset) >= records.count || records[Int($0.offset)].value != $0.value
        }
        return gone?.offset ?? seen[index].next ?? 0
    }

    private mutating func checkWhatWasSeen() {
        for index in seen.indices where !seen[index].values.isEmpty && commonEnd(index) != seen[index].next {
            complaints.append("\(index): what was read at \(commonEnd(index)) is gone, and nobody was told")
        }
    }
}

@Suite struct ConsumerWorldTests {
    @Test func theReaderSeesEachOffsetOnceAndHearsOfEachTruncation() {
        var truncations = 0
        for seed: UInt64 in 0..<100 {
            var world = ConsumerWorld(seed: seed)
            let complaints = world.run()
            truncations += world.truncationsTold
            guard complaints.isEmpty else {
                world = ConsumerWorld(seed: seed)
                world.isTracing = true
                _ = world.run()
                let text = (["seed \(seed)"] + complaints.prefix(5) + world.trace.suffix(40)).joined(separator: "\n")
                Issue.record("\(text)")
                return
            }
        }
        // Otherwise the world shows nothing.
        #expect(truncations > 50)
    }

    /// The world can fail: where no node compares, truncations stay hidden, and it sees that.
    @Test func seesTruncationsThatNodesHide() {
        let found = (0..<60).flatMap { (seed: UInt64) -> [String] in
            var world = ConsumerWorld(seed: seed, nodesLie: true)
            return world.run()
        }
        #expect(found.contains { $0.contains("nobody was told") })
    }
}
