// Fetches of partitions of several shards. The gateway keeps the session and reads what is its own when it answers, so
// that those records go out by sendfile; the others read theirs into buffers, because a slice of their disk is nothing
// to this one. Each shard waits for itself. The first that has enough makes the gateway hurry the others, which then
// answer with what they have; when all have answered, the fetch is.

import Model
import NIOCore
import Records
import Storage
import Wire

/// Another shard's share of a fetch.
struct FetchPart: Sendable {
    /// With what the reader was told of them.
    var targets: [FetchTarget] = []
    var reader: FetchReader
    var isIncremental: Bool
    var hasSession: Bool
    var minBytes: Int
    /// Of the whole fetch: the gateway leaves out what is too much.
    var maxBytes: Int
    /// Of the node's clock, which its shards share.
    var deadline: Instant
}

/// What a shard found for one target of its share.
struct FetchedPartition: Sendable {
    /// Among the share's targets.
    var index: Int
    var answer: FetchResponse.Partition
}

/// What the gateway knows of the other shards' shares.
final class FetchGather {
    /// The shard of each target.
    let owners: [Int]
    /// The targets of each other shard, in the order of its share.
    private(set) var places = SortedMap<Int, [Int]>()
    /// Who has not answered.
    var waiting = SortedMap<Int, Bool>()
    /// By target. For look-ups only.
    var answers: [Int: FetchResponse.Partition] = [:]
    /// Nobody waits for records any more.
    var isHurried = false

    /// - Parameter first: targets whose turn it is.
    init(owners: [Int], gateway: Int, first: [Int]) {
        self.owners = owners
        let waiting = Set(first)
        for target in first + owners.indices.filter({ !waiting.contains($0) }) where owners[target] != gateway {
            let owner = owners[target]
            places[owner, default: []].append(target)
            self.waiting[owner] = true
        }
    }
}

extension Shard {
    // MARK: The gateway

    /// Divides a fetch among the shards that have its targets. False: all of them are here.
    func divide(_ pending: PendingFetch) -> Bool {
        var pending = pending
        var targets = pending.session?.targets ?? pending.targets
        for index in targets.indices {
            guard var target = targets[index] else { continue }
            resolve(&target)
            targets[index] = target
        }
        let owners = targets.map { $0.map { owner(of: $0) } ?? index }
        guard owners.contains(where: { $0 != index }) else { return false }
        if let session = pending.session {
            for (slot, target) in targets.enumerated() { target.map { session.resolved(slot, $0) } }
        } else {
            pending.targets = targets.compactMap(\.self)
        }
        let gather = FetchGather(owners: owners, gateway: index, first: pending.session?.noted ?? [])
        pending.gather = gather
        // What is here may be enough; then the others only say what they have.
        let number = takeRequestNumber()
        gather.isHurried = !mayPark || isReady(&pending, number, isLast: reading.now >= pending.deadline)
        let sharers = gather.places.count + (owners.contains(index) ? 1 : 0)
        for (shard, places) in gather.places {
            var part = FetchPart(
                reader: pending.reader, isIncremental: pending.isIncremental, hasSession: pending.session != nil,
                // When all together have enough, one of them has its share of it.
                minBytes: (pending.minBytes + sharers - 1) / sharers, maxBytes: pending.maxBytes,
                deadline: gather.isHurried ? reading.now : pending.deadline)
            part.targets = places.compactMap { targets[$0] }
            ask(shard, PartID(gateway: index, number: number), .fetch(part), pending.context)
        }
        park(pending, as: number)
        return true
    }

    private func owner(of target: FetchTarget) -> Int {
        guard target.unknown == nil else { return index }
        let name =
            target.topicName.isEmpty ? view.image.topic(id: target.topicPartition.topicID)?.name : target.topicName
        return owner(of: name, target.partition)
    }

    func fetchPartAnswered(_ number: UInt64, _ partitions: [FetchedPartition], from shard: Int) {
        guard let gather = pendingFetches[number]?.gather,
            gather.waiting.removeValue(forKey: shard) != nil, let places = gather.places[shard]
        else { return }
        for found in partitions { gather.answers[places[found.index]] = found.answer }
        guard gather.waiting.isEmpty else { return hurry(gather, number) }
        // The others hear of nothing any more on its behalf: what is not in memory here does not hold it up.
        pendingFetches[number]?.medium.isGivenUp = true
        runFetch(number, isLast: true)
    }

    func hurry(_ gather: FetchGather, _ number: UInt64) {
        guard !gather.isHurried else { return }
        gather.isHurried = true
        for shard in gather.waiting.keys {
            effects.append(.mailShard(shard, .partHurried(PartID(gateway: index, number: number))))
        }
    }

    /// What the others have not said yet is not waited for.
    func giveUpParts(of gather: FetchGather, _ number: UInt64) {
        for shard in gather.waiting.keys {
            effects.append(.mailShard(shard, .partCancelled(PartID(gateway: index, number: number))))
        }
        gather.waiting.removeAll()
    }

    /// The records of another shard's answer, as many whole batches as there is room for.
    func take(_ answer: inout FetchResponse.Partition, room: Int, isFirst: Bool) -> (records: ByteBuffer?, isCut: Bool)
    {
        var records = answer.records ?? ByteBuffer()
        answer.records = ByteBuffer()
        answer.recordsLength = 0
        let wholeBytes = records.readableBytes
        var takenBytes = 0
        for (header, _) in BatchSequence(records) {
            guard takenBytes + header.sizeBytes <= room || (isFirst && takenBytes == 0) else { break }
            takenBytes += header.sizeBytes
        }
        guard takenBytes > 0, let taken = records.readSlice(length: takenBytes) else { return (nil, wholeBytes > 0) }
        answer.recordsLength = takenBytes
        return (taken, takenBytes < wholeBytes)
    }

    // MARK: Who has the partitions

    func fetch(_ part: FetchPart, _ context: RequestContext) {
        var pending = PendingFetch(
            context: context, reader: part.reader, session: nil, hasSession: part.hasSession, targets: part.targets,
            isIncremental: part.isIncremental, minBytes: part.minBytes, maxBytes: part.maxBytes,
            deadline: part.deadline)
        let number = takeRequestNumber()
        let isLast = reading.now >= pending.deadline || !mayPark
        // Who is in a hurry has enough without it, and what is asked for now is there the next time.
        pending.medium.isGivenUp = isLast
        if answerIfReady(&pending, number, isLast: isLast) { return }
        if let id = context.part { fetchParts[id] = number }
        park(pending, as: number)
    }

    func partHurried(_ id: PartID) {
        if let number = fetchParts[id] { fetchGivenUp(number) }
    }

    func partCancelled(_ id: PartID) {
        if let number = fetchParts[id] { forgetFetch(number) }
    }

    /// Reads what was found into buffers.
    func withRecords(
        _ found: [FetchedPartition], _ pieces: [OutboundPiece], of targets: [FetchTarget]
    ) -> [FetchedPartition] {
        var next = 0
        return found.map { partition in
            var partition = partition
            guard partition.answer.recordsLength ?? 0 > 0 else { return partition }
            defer { next += 1 }
            partition.answer.recordsLength = nil
            guard case .file(let slice) = pieces[next],
                let replica = replicas[targets[partition.index].topicPartition]
            else {
                // Set aside a moment ago, by the same fetch.
                partition.answer.errorCode = .notLeaderOrFollower
                return partition
            }
            do throws(LogError) {
                partition.answer.records = try replica.log.bytes(of: slice)
            } catch {
                partition.answer.errorCode = error.errorCode
                logFailed(replica, error)
            }
            return partition
        }
    }
}
