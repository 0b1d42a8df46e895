// A consumer: reads one partition after the other from the start by offset, with long polls, and looks at the end of
// the log now and then.

import Model
import NIOCore
import Records
import Wire

final class SimulatedConsumer {
    let client: SimulatedClient
    let topic: String
    private var positions: [Offset]
    private var rounds = 0
    /// Once the load has stopped, each partition is read until its end is reached.
    private var atEnd: [Bool]
    /// Of the topic that `positions` are in: another one of the same name is read from its start.
    private var topicID: UUID128?
    /// Its topic is gone.
    private var isAbandoned = false

    private let hasSessions: Bool
    private var sessionLots: SeededRandom
    private var sessions = SortedMap<NodeID, SimulatedFetchSession>()
    /// The round whose fetch was answered last.
    private var answered = 0

    private var world: World { client.world }

    init(_ client: SimulatedClient, topic: String, partitions: Int32 = 0) {
        self.client = client
        self.topic = topic
        positions = Array(repeating: 0, count: Int(partitions))
        atEnd = positions.map { _ in false }
        sessionLots = client.world.lots.stream(.load, Lots.mixed(11, UInt64(client.number)))
        hasSessions = sessionLots.oneIn(2)
    }

    var isDone: Bool { isAbandoned || !world.isLoaded && atEnd.allSatisfy { $0 } }

    func abandon() { isAbandoned = true }

    func start(afterMs: Int64 = 600) {
        client.later("consumes", ms: afterMs + client.lots.below(100)) { [unowned self] in turn() }
    }

    private func turn() {
        guard !isDone else { return }
        rounds += 1
        noteTopic()
        guard !positions.isEmpty else { return lookAgain() }
        let partition = rounds % positions.count
        guard let topicID = client.topicIDs[topic],
            let leader = client.leader(of: TopicPartition(topicID, Int32(partition)))
        else { return lookAgain() }
        let key = TopicPartition(topicID, Int32(partition))
        if rounds % 11 == 0 { askForEnd(key, leader) } else { fetch(key, leader) }
    }

    private func noteTopic() {
        if let known = client.topicIDs[topic], known != topicID {
            if topicID != nil { (positions, atEnd, sessions) = ([], [], SortedMap()) }
            topicID = known
        }
        for _ in positions.count..<max(positions.count, client.partitionCounts[topic] ?? 0) {
            positions.append(0)
            atEnd.append(false)
        }
    }

    private func lookAgain() {
        client.refresh()
        client.later("looks again", ms: 60) { [unowned self] in turn() }
    }

    private func fetch(_ key: TopicPartition, _ leader: NodeID) {
        var wanted = SortedMap([(key.partition, positions[Int(key.partition)])])
        if world.swarm.shards > 1 || hasSessions {
            // What else that node leads: its shards answer together, and a session holds more than one.
            for index in positions.indices where client.leader(of: TopicPartition(key.topicID, Int32(index))) == leader
            {
                wanted[Int32(index)] = positions[index]
            }
        }
        var request = FetchRequest()
        request.maxWaitMs = 300
        request.minBytes = 1
        request.maxBytes = 4_000
        if hasSessions {
            sessions[leader, default: SimulatedFetchSession()].ask(wanted, of: key.topicID, in: &request)
        } else {
            request.topics = [SimulatedFetchSession.topic(key.topicID, wanted.map { $0 })]
        }
        let round = rounds
        client.ask(request, version: 16, of: leader, timeoutMs: 2_000) { [unowned self] answer in
            answered = round
            if hasSessions { sessions[leader]?.answered(answer) }
            let found = answer?.topics.first?.partitions ?? []
            // A session says nothing where there is no news.
            guard answer?.errorCode == ErrorCode.none, hasSessions || !found.isEmpty else { return lookAgain() }
            var isWell = true
            for partition in found
            where !fetched(TopicPartition(key.topicID, partition.partitionIndex), partition) { isWell = false }
            guard isWell else { return lookAgain() }
            client.later("fetches on", ms: 1 + client.lots.below(10)) { [unowned self] in turn() }
        }
        if hasSessions, sessionLots.oneIn(8) { closeSession(with: leader, during: round) }
    }

    /// As one does that is closed or assigned other partitions while its last fetch waits.
    private func closeSession(with leader: NodeID, during round: Int) {
        client.later("closes its session", ms: 1 + sessionLots.below(40)) { [unowned self] in
            guard answered != round, let request = sessions.removeValue(forKey: leader)?.closing else { return }
            client.ask(request, version: 16, of: leader, timeoutMs: 2_000) { _ in }
        }
    }

    /// False when the cluster is to be looked at again.
    private func fetched(_ key: TopicPartition, _ found: FetchResponse.Partition) -> Bool {
        // An answer about the topic of that name that was there before.
        guard key.topicID == topicID, !isAbandoned else { return false }
        let partition = Int(key.partition)
        guard found.errorCode == .none else {
            if found.errorCode == .offsetOutOfRange {
                world.checkers.consumerTurnedAway(key, at: positions[partition], world)
                positions[partition] = max(0, found.logStartOffset)
            }
            return false
        }
        var bytes = found.records ?? ByteBuffer()
        while let header = BatchHeader(reading: bytes, at: bytes.readerIndex),
            let batch = bytes.readSlice(length: header.sizeBytes)
        {
            do throws(BatchError) {
                for record in try decodeRecords(batch) where record.offset >= positions[partition] {
                    guard record.offset == positions[partition] || topic == KeyedRecords.topic else {
                        world.violated(
                            "P1",
                            "offset \(positions[partition]) of \(key) was skipped, "
                                + "\(record.offset) came")
                        return false
                    }
                    world.checkers.consumed(key, record.offset, KeyedRecords.value(of: record), world)
                    positions[partition] = record.offset + 1
                }
                // What compaction took from the end of the batch, or all of it.
                if topic == KeyedRecords.topic { positions[partition] = max(positions[partition], header.nextOffset) }
            } catch {
                world.violated("P7", "a consumer of \(key) got a batch that cannot be read: \(error)")
                return false
            }
        }
        atEnd[partition] = positions[partition] >= found.highWatermark
        return true
    }

    private func askForEnd(_ key: TopicPartition, _ leader: NodeID) {
        var partition = ListOffsetsRequest.Partition()
        partition.partitionIndex = key.partition
        partition.timestamp = -1
        var entry = ListOffsetsRequest.Topic()
        entry.name = topic
        entry.partitions = [partition]
        var request = ListOffsetsRequest()
        request.replicaID = -1
        request.topics = [entry]
        let asked = world.checkers.partitions.asked(key, of: world.node(leader))
        client.ask(
            request, version: 7, of: leader, timeoutMs: 2_000,
            peek: { [unowned self] answer, node in
                guard let place = answer.topics.first?.partitions.first, place.errorCode == .none else { return }
                world.checkers.endShown(key, place.offset, by: node, asked, world)
            },
            then: { [unowned self] _ in
                client.later("fetches on", ms: 5) { [unowned self] in turn() }
            })
    }
}
