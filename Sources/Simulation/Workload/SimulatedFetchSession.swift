// What a consumer and one node remember of the consumer's last Fetch (KIP-227), as clients keep it.

import Model
import Wire

struct SimulatedFetchSession {
    /// 0: none yet.
    private var id: Int32 = 0
    /// 0: all that is wanted is said, and a session asked for in place of the one before.
    private var nextEpoch: Int32 = 0
    /// What the node reads, and from where, as it was told.
    private var told = SortedMap<PartitionIndex, Offset>()

    /// Says what differs from what was asked last.
    mutating func ask(_ wanted: SortedMap<PartitionIndex, Offset>, of topicID: UUID128, in request: inout FetchRequest)
    {
        request.sessionID = id
        request.sessionEpoch = nextEpoch
        if nextEpoch == 0 { told.removeAll() }
        let changed = wanted.filter { told[$0.key] != $0.value }
        request.topics = changed.isEmpty ? [] : [Self.topic(topicID, changed)]
        let forgotten = told.keys.filter { wanted[$0] == nil }
        if !forgotten.isEmpty {
            var topic = FetchRequest.ForgottenTopic()
            topic.topicID = topicID
            topic.partitions = forgotten
            request.forgottenTopics = [topic]
        }
        told = wanted
    }

    static func topic(_ topicID: UUID128, _ wanted: [(key: PartitionIndex, value: Offset)]) -> FetchRequest.Topic {
        var topic = FetchRequest.Topic()
        topic.topicID = topicID
        topic.partitions = wanted.map { index, offset in
            var partition = FetchRequest.Partition()
            partition.partitionIndex = index
            partition.fetchOffset = offset
            partition.partitionMaxBytes = 2_000
            return partition
        }
        return topic
    }

    /// It goes on, or begins anew: an answer that did not come may have been given.
    mutating func answered(_ answer: FetchResponse?) {
        switch answer?.errorCode {
        case ErrorCode.none? where answer?.sessionID != 0:
            id = answer?.sessionID ?? 0
            nextEpoch = nextEpoch == .max ? 1 : nextEpoch + 1
        case .fetchSessionIdNotFound?, ErrorCode.none?:
            self = SimulatedFetchSession()
        default: nextEpoch = 0
        }
    }

    /// Nil where there is none.
    var closing: FetchRequest? {
        guard id != 0 else { return nil }
        var request = FetchRequest()
        request.sessionID = id
        request.sessionEpoch = -1
        return request
    }
}
