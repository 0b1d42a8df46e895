// Where the replicas' world begins: three brokers in service, a topic with one partition, replica 1 leads.

import Metadata
import Model
import Replication
import Wire

extension ReplicaScope {
    package mutating func first() -> StateRow {
        var row = StateRow()
        var controller = Controller(
            image: Self.founded(), settings: ControllerSettings(), seed: 0, now: .zero, dead: [])
        _ = controller.ticked(nextOffset: controller.image.lastOffset + 1, at: .zero)
        let memory = ReplicaMemory(
            history: [number(controller) ?? 0], leaders: [Int64](repeating: 0, count: Int(limits.epochsMax) + 1))
        row[memoryPart] = memories.number(memory)
        for part in 3..<9 { row[part] = links.number(FetchLink()) }
        for part in 9..<12 { row[part] = alters.number(.none) }
        for index in 0..<Self.count {
            var member = ReplicaMember(id: NodeID(index + 1), log: [], highWatermark: nil, previousEpoch: -1)
            member.brokerEpoch = BrokerEpoch(index)
            row[index] = number(member)
        }
        for index in 0..<Self.count {
            if let next = take(.assign(member: index, state: 0), in: row) { row = next.row }
        }
        return limits.isSettled ? settled(row) : row
    }

    /// One record is produced, and both followers fetch until they know that it is committed.
    private mutating func settled(_ first: StateRow) -> StateRow {
        var row = first
        func round(_ follower: Int) -> [ReplicaMove] {
            [
                .fetch(from: follower, to: 0), .serve(from: follower, to: 0, parks: false),
                .answer(from: follower, to: 0), .flushed(member: follower),
            ]
        }
        let rounds = [1, 2, 1, 2, 1, 2].flatMap(round)
        for move in [.produce(member: 0), .flushed(member: 0)] + rounds {
            if let next = take(move, in: row) { row = next.row }
        }
        return row
    }

    private static func founded() -> MetadataImage {
        var image = MetadataImage.empty
        var changes = ImageChanges()
        for id in 1...NodeID(count) {
            var broker = RegisterBrokerRecord()
            broker.brokerID = id
            broker.brokerEpoch = BrokerEpoch(id - 1)
            broker.incarnationID = UUID128(high: 100, low: UInt64(id))
            broker.directoryID = directory(id)
            broker.fenced = false
            image.apply(.registerBroker(broker), at: Offset(id - 1), changes: &changes)
        }
        var topic = TopicRecord()
        topic.name = "small"
        topic.topicID = ReplicaMember.topic.topicID
        image.apply(.topic(topic), at: Offset(count), changes: &changes)
        var partition = PartitionRecord()
        partition.partitionID = 0
        partition.topicID = topic.topicID
        partition.replicas = (1...Int32(count)).map { $0 }
        partition.isr = partition.replicas
        partition.leader = 1
        partition.leaderEpoch = 0
        partition.partitionEpoch = 0
        partition.directories = partition.replicas.map(directory)
        image.apply(.partition(partition), at: Offset(count + 1), changes: &changes)
        return image
    }
}
