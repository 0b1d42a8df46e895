// All messages of the module as test arguments.

import Testing
import Wire

struct MessageCase: Sendable, CustomTestStringConvertible {
    let type: any WireMessage.Type
    var name: String { "\(type)" }
    var testDescription: String { name }
}

let everyMessage: [MessageCase] = requestsAndResponses.map(MessageCase.init) + recordTypes.map(MessageCase.init)

private let requestsAndResponses: [any WireMessage.Type] = allRequests.types.flatMap { request in
    func pair<M: WireRequest>(_: M.Type) -> [any WireMessage.Type] { [M.self, M.Response.self] }
    return pair(request)
}

let metadataRecordTypes: [any WireMetadataRecord.Type] = [
    RegisterBrokerRecord.self, UnregisterBrokerRecord.self, TopicRecord.self, PartitionRecord.self, ConfigRecord.self,
    PartitionChangeRecord.self, RemoveTopicRecord.self, FeatureLevelRecord.self, ProducerIDsRecord.self,
    BrokerRegistrationChangeRecord.self, NoOpRecord.self, BeginTransactionRecord.self, EndTransactionRecord.self,
    AbortTransactionRecord.self,
]

let recordTypes: [any WireMessage.Type] =
    metadataRecordTypes + [
        LeaderChangeMessage.self, KRaftVersionRecord.self, VotersRecord.self, SnapshotHeaderRecord.self,
        SnapshotFooterRecord.self, ControlRecordKey.self,
    ] + groupKeyTypes + groupValueTypes + [ConsumerProtocolSubscription.self, ConsumerProtocolAssignment.self]

let groupKeyTypes: [any WireGroupKey.Type] = [
    OffsetCommitKey.self, GroupMetadataKey.self, ConsumerGroupMetadataKey.self, ConsumerGroupMemberMetadataKey.self,
    ConsumerGroupTargetAssignmentMetadataKey.self, ConsumerGroupTargetAssignmentMemberKey.self,
    ConsumerGroupCurrentMemberAssignmentKey.self, ConsumerGroupRegularExpressionKey.self,
]

/// In the order of their keys.
let groupValueTypes: [any WireGroupValue.Type] = [
    OffsetCommitValue.self, GroupMetadataValue.self, ConsumerGroupMetadataValue.self,
    ConsumerGroupMemberMetadataValue.self, ConsumerGroupTargetAssignmentMetadataValue.self,
    ConsumerGroupTargetAssignmentMemberValue.self, ConsumerGroupCurrentMemberAssignmentValue.self,
    ConsumerGroupRegularExpressionValue.self,
]
