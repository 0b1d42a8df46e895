// The topics in a consumer's metadata. Everything else in there is between consumers; this much the coordinator reads.

import NIOCore
import Wire

enum Subscription {
    /// Nil: the bytes are something else, and nobody knows what the member subscribes to.
    static func topics(in metadata: ByteBuffer) -> Set<String>? {
        (try? ConsumerProtocolSubscription.decode(metadata)).map { Set($0.topics) }
    }
}

extension Group {
    /// What its consumers read; nil: they are none, or one of them does not tell.
    func subscribedTopics(_ step: GroupStep) -> Set<String>? {
        if let consumer {
            let isUnresolved =
                consumer.topicsSeen != step.topicsRevision && consumer.members.values.contains { $0.pattern != nil }
            return isUnresolved ? nil : Set(consumer.members.values.flatMap(\.allTopics))
        }
        guard protocolType == ConsumerProtocol.type else { return nil }
        var all: Set<String> = []
        for member in members.values {
            for one in member.protocols {
                guard let topics = Subscription.topics(in: one.metadata) else { return nil }
                all.formUnion(topics)
            }
        }
        return all
    }
}
