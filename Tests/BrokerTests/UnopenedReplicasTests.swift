// Replicas that wait to be opened: each once, in order, and out when their topic is deleted.

import Broker
import Model
import Testing

struct UnopenedReplicasTests {
    private let topic = UUID128(high: 1, low: 1)
    private let other = UUID128(high: 2, low: 2)

    /// Twice in the queue, a deleted topic's directory was removed twice, and the second time failed (t70 showed it).
    @Test func whatComesUpAgainWhileItWaitsIsThereOnce() {
        var replicas = UnopenedReplicas()
        for _ in 0..<3 {
            replicas.append(TopicPartition(topic, 0), named: "t-0")
            replicas.append(TopicPartition(topic, 1), named: "t-1")
            replicas.append(TopicPartition(other, 0), named: "u-0")
        }
        #expect(replicas.remove(of: topic) == ["t-0", "t-1"])
        #expect(replicas.popFirst() == TopicPartition(other, 0))
        #expect(replicas.popFirst() == nil)
        #expect(replicas.isEmpty)
    }

    @Test func whatWasTakenOutMayComeAgain() {
        var replicas = UnopenedReplicas()
        replicas.append(TopicPartition(topic, 0), named: "t-0")
        #expect(replicas.popFirst() == TopicPartition(topic, 0))
        replicas.append(TopicPartition(topic, 0), named: "t-0")
        #expect(replicas.remove(of: topic) == ["t-0"])
        replicas.append(TopicPartition(topic, 0), named: "t-0")
        replicas.removeAll()
        #expect(replicas.isEmpty)
        replicas.append(TopicPartition(topic, 0), named: "t-0")
        #expect(replicas.popFirst() == TopicPartition(topic, 0))
    }
}
