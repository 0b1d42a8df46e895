// The clients of the next-generation protocol, as far as the coordinator sees them.

import Groups
import Model
import Wire

/// What such a client remembers between two heartbeats.
struct Consumer {
    var memberID: String
    var instanceID: String?
    var epoch: Int32 = 0
    var topics: [String]? = ["rooks"]
    var pattern: String?
    var assignor: String?
    var rebalanceTimeoutMs: Int32 = 20_000
    var owned: Set<TopicPartition> = []
    /// What it was told to have; it may still have more.
    var told: Set<TopicPartition> = []
    /// Says everything with the next heartbeat: it joins, or an answer was lost.
    var saysAll = true
}

extension Desk {
    /// One heartbeat, and what the client makes of the answer.
    @discardableResult
    mutating func consume(
        _ name: String, group: String = "g", epoch: Int32? = nil, owned: Set<TopicPartition>? = nil,
        answered: Bool = true, version: Int16 = 1
    ) -> ConsumerGroupHeartbeatResponse? {
        var consumer = consumers[name] ?? Consumer(memberID: name)
        var request = ConsumerGroupHeartbeatRequest()
        request.groupID = group
        request.memberID = consumer.memberID
        request.memberEpoch = epoch ?? consumer.epoch
        request.instanceID = consumer.instanceID
        if consumer.saysAll || consumer.epoch == 0 {
            request.rebalanceTimeoutMs = consumer.rebalanceTimeoutMs
            request.subscribedTopicNames = consumer.topics
            request.subscribedTopicRegex = consumer.pattern
            request.serverAssignor = consumer.assignor
        }
        let shown = request.memberEpoch == 0 ? [] : owned ?? consumer.owned
        request.topicPartitions = Dictionary(grouping: shown, by: \.topicID).sorted { $0.key < $1.key }.map { id, all in
            var topic = ConsumerGroupHeartbeatRequest.TopicPartitions()
            topic.topicID = id
            topic.partitions = all.map(\.partition).sorted()
            return topic
        }
        let ticket = ask(.consumerGroupHeartbeat(request), version: version, name: name)
        consumers[name] = consumer
        guard case .consumerGroupHeartbeat(let answer)? = replies[ticket] else { return nil }
        guard answered else {
            consumers[name]?.saysAll = true
            return answer
        }
        if answer.errorCode == .none {
            consumer.epoch = answer.memberEpoch
            consumer.memberID = answer.memberID ?? consumer.memberID
            consumer.saysAll = false
            if let assignment = answer.assignment {
                consumer.told = Set(
                    assignment.topicPartitions.flatMap { topic in
                        topic.partitions.map { TopicPartition(topic.topicID, $0) }
                    })
                // It gives up at once, and takes what is new.
                consumer.owned = consumer.told
            }
        } else if [.fencedMemberEpoch, .unknownMemberId].contains(answer.errorCode) {
            consumer.epoch = 0
            consumer.owned = []
        }
        consumers[name] = consumer
        return answer
    }

    func owned(_ name: String) -> [Int32] { (consumers[name]?.owned ?? []).map(\.partition).sorted() }

    @discardableResult
    mutating func quit(_ name: String, for epoch: Int32 = -1) -> ErrorCode? {
        defer { consumers[name]?.epoch = 0 }
        return consume(name, epoch: epoch)?.errorCode
    }

    /// Everyone sends heartbeats until nothing moves any more.
    mutating func converge(_ names: [String]) {
        for _ in 0..<8 {
            for name in names { consume(name) }
        }
    }

    var consumerGroup: ConsumerGroup? { group?.consumer }
}
