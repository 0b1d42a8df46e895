// Deletes records now and then, from partitions by lot, and asks where they begin.

import Model
import Wire

final class SimulatedDeleter {
    let client: SimulatedClient
    private let topics: [String]
    /// Its own, so that other clients' lots stay what they are.
    private var random: SeededRandom

    private var world: World { client.world }

    init(_ client: SimulatedClient, topics: [String]) {
        self.client = client
        self.topics = topics
        random = SeededRandom(seed: UInt64(client.number) ^ UInt64(client.world.swarm.thinkMs) << 8)
    }

    func start() {
        client.later("deletes", ms: 900) { [unowned self] in turn() }
    }

    private func turn() {
        guard world.isLoaded else { return }
        let name = topics[Int(random.below(Int64(topics.count)))]
        let partition = Int32(random.below(Int64(world.swarm.partitions)))
        guard let topicID = client.topicIDs[name],
            let leader = client.leader(of: TopicPartition(topicID, partition))
        else {
            client.refresh()
            return again(80)
        }
        let key = TopicPartition(topicID, partition)
        if random.oneIn(2) { delete(key, name, leader) } else { askForStart(key, name, leader) }
    }

    private func again(_ ms: Int64) {
        client.later("deletes", ms: ms) { [unowned self] in turn() }
    }

    private func delete(_ key: TopicPartition, _ name: String, _ leader: NodeID) {
        let committed = world.checkers.partitions.committedLog(key)?.endOffset ?? 0
        var entry = DeleteRecordsRequest.Partition()
        entry.partitionIndex = key.partition
        entry.offset = random.oneIn(4) ? -1 : random.below(committed + 1)
        var topic = DeleteRecordsRequest.Topic()
        topic.name = name
        topic.partitions = [entry]
        var request = DeleteRecordsRequest()
        request.topics = [topic]
        request.timeoutMs = 1_500
        world.checkers.starts.deletionAsked(key, entry.offset)
        let asked = world.checkers.starts.asked(key, of: world.node(leader), world)
        client.ask(
            request, version: 2, of: leader, timeoutMs: 2_500,
            peek: { [unowned self] answer, node in
                guard let place = answer.topics.first?.partitions.first, place.errorCode == .none else { return }
                if place.lowWatermark < entry.offset {
                    world.violated("P12", "\(key): deleted below \(entry.offset), it begins at \(place.lowWatermark)")
                }
                world.checkers.starts.startShown(key, place.lowWatermark, by: node, asked, world)
            },
            then: { [unowned self] answer in
                if answer?.topics.first?.partitions.first?.errorCode != ErrorCode.none { client.refresh() }
                again(200 + random.below(900))
            })
    }

    private func askForStart(_ key: TopicPartition, _ name: String, _ leader: NodeID) {
        var partition = ListOffsetsRequest.Partition()
        partition.partitionIndex = key.partition
        partition.timestamp = -2
        var entry = ListOffsetsRequest.Topic()
        entry.name = name
        entry.partitions = [partition]
        var request = ListOffsetsRequest()
        request.replicaID = -1
        request.topics = [entry]
        let asked = world.checkers.starts.asked(key, of: world.node(leader), world)
        client.ask(
            request, version: 7, of: leader, timeoutMs: 2_000,
            peek: { [unowned self] answer, node in
                guard let place = answer.topics.first?.partitions.first, place.errorCode == .none else { return }
                world.checkers.starts.startShown(key, place.offset, by: node, asked, world)
            },
            then: { [unowned self] answer in
                if answer?.topics.first?.partitions.first?.errorCode != ErrorCode.none { client.refresh() }
                again(20 + random.below(200))
            })
    }
}
