// The requests that a coordinator answers, and the answer that refuses each.

import Model
import NIOCore
import Wire

/// Where a request names several groups, all belong to this coordinator: whoever divides it has seen to that.
package enum GroupRequest: Equatable, Sendable {
    case joinGroup(JoinGroupRequest)
    case syncGroup(SyncGroupRequest)
    case heartbeat(HeartbeatRequest)
    case leaveGroup(LeaveGroupRequest)
    case offsetCommit(OffsetCommitRequest)
    case offsetFetch(OffsetFetchRequest)
    case offsetDelete(OffsetDeleteRequest)
    case deleteGroups(DeleteGroupsRequest)
    case describeGroups(DescribeGroupsRequest)
    case listGroups(ListGroupsRequest)
    case consumerGroupHeartbeat(ConsumerGroupHeartbeatRequest)
    case consumerGroupDescribe(ConsumerGroupDescribeRequest)
}

package enum GroupResponse: Equatable, Sendable {
    case joinGroup(JoinGroupResponse)
    case syncGroup(SyncGroupResponse)
    case heartbeat(HeartbeatResponse)
    case leaveGroup(LeaveGroupResponse)
    case offsetCommit(OffsetCommitResponse)
    case offsetFetch(OffsetFetchResponse)
    case offsetDelete(OffsetDeleteResponse)
    case deleteGroups(DeleteGroupsResponse)
    case describeGroups(DescribeGroupsResponse)
    case listGroups(ListGroupsResponse)
    case consumerGroupHeartbeat(ConsumerGroupHeartbeatResponse)
    case consumerGroupDescribe(ConsumerGroupDescribeResponse)
}

extension GroupRequest {
    /// The answer that says `error` for all that was asked: what a node answers that is not the coordinator, or whose
    /// coordinator is not ready.
    package func refused(_ error: ErrorCode, version: Int16) -> GroupResponse {
        switch self {
        case .joinGroup(let request): .joinGroup(request.refused(error, version: version))
        case .syncGroup: .syncGroup(SyncGroupResponse(error: error))
        case .heartbeat: .heartbeat(HeartbeatResponse(error: error))
        case .leaveGroup: .leaveGroup(LeaveGroupResponse(error: error))
        case .offsetCommit(let request): .offsetCommit(request.answered { _, _ in error })
        case .offsetFetch(let request): .offsetFetch(request.refused(error, version: version))
        case .offsetDelete: .offsetDelete(OffsetDeleteResponse(error: error))
        case .deleteGroups(let request): .deleteGroups(request.refused(error))
        case .describeGroups(let request): .describeGroups(request.refused(error))
        case .listGroups: .listGroups(ListGroupsResponse(error: error))
        case .consumerGroupHeartbeat: .consumerGroupHeartbeat(ConsumerGroupHeartbeatResponse(error: error))
        case .consumerGroupDescribe(let request): .consumerGroupDescribe(request.refused(error))
        }
    }
}

extension JoinGroupRequest {
    /// - Parameter memberID: the id to tell; the request's own unless a new one was drawn.
    func refused(_ error: ErrorCode, version: Int16, memberID: String? = nil) -> JoinGroupResponse {
        JoinGroupResponse(error: error, memberID: memberID ?? self.memberID, version: version)
    }

    /// A copy: what was received is a slice of a whole frame.
    var ownProtocols: [GroupProtocol] { protocols.map { GroupProtocol($0.name, copying: $0.metadata) } }
}

extension JoinGroupRequest.GroupProtocol {
    init(_ name: String, copying metadata: ByteBuffer) {
        self.init()
        self.name = name
        self.metadata = ByteBuffer(bytes: metadata.readableBytesView)
    }
}

extension JoinGroupResponse {
    /// A refusal, which names no protocol: from version 7 on by null.
    init(error: ErrorCode, memberID: String, version: Int16) {
        self.init()
        errorCode = error
        self.memberID = memberID
        protocolName = version >= 7 ? nil : ""
    }
}

extension SyncGroupResponse {
    init(error: ErrorCode) {
        self.init()
        errorCode = error
    }
}

extension HeartbeatResponse {
    init(error: ErrorCode) {
        self.init()
        errorCode = error
    }
}

extension LeaveGroupResponse {
    init(error: ErrorCode) {
        self.init()
        errorCode = error
    }

    /// Before version 3 there is one member, and its error is the answer's.
    init(of members: [Member], version: Int16) {
        self.init()
        if version < 3 { errorCode = members.first?.errorCode ?? .none } else { self.members = members }
    }
}

extension OffsetDeleteResponse {
    init(error: ErrorCode) {
        self.init()
        errorCode = error
    }
}

extension ListGroupsResponse {
    init(error: ErrorCode) {
        self.init()
        errorCode = error
    }
}

extension ConsumerGroupHeartbeatResponse {
    init(error: ErrorCode, _ sentence: String? = nil) {
        self.init()
        errorCode = error
        errorMessage = sentence
    }
}

extension ConsumerGroupDescribeRequest {
    func refused(_ error: ErrorCode) -> ConsumerGroupDescribeResponse {
        var response = ConsumerGroupDescribeResponse()
        response.groups = groupIDs.map { .init($0, error) }
        return response
    }
}

extension ConsumerGroupDescribeResponse.Group {
    init(_ groupID: String, _ error: ErrorCode, _ sentence: String? = nil) {
        self.init()
        self.groupID = groupID
        errorCode = error
        errorMessage = sentence
    }
}

extension OffsetCommitRequest {
    /// The answer in the request's own order, with an error for each partition.
    func answered(_ error: (Topic, Partition) -> ErrorCode) -> OffsetCommitResponse {
        var response = OffsetCommitResponse()
        response.topics = topics.map { topic in
            var answer = OffsetCommitResponse.Topic()
            answer.name = topic.name
            answer.topicID = topic.topicID
            answer.partitions = topic.partitions.map { partition in
                var result = OffsetCommitResponse.Partition()
                result.partitionIndex = partition.partitionIndex
                result.errorCode = error(topic, partition)
                return result
            }
            return answer
        }
        return response
    }
}

extension OffsetFetchRequest {
    /// Version 1 has no error but a partition's; before 8 there is one group.
    func refused(_ error: ErrorCode, version: Int16) -> OffsetFetchResponse {
        var response = OffsetFetchResponse()
        if version >= 8 {
            response.groups = groups.map { group in
                var answer = OffsetFetchResponse.Group()
                answer.groupID = group.groupID
                answer.errorCode = error
                return answer
            }
            return response
        }
        response.errorCode = error
        response.topics = (topics ?? []).map { topic in
            var answer = OffsetFetchResponse.Topic()
            answer.name = topic.name
            answer.partitions = topic.partitionIndexes.map { .missing($0, error) }
            return answer
        }
        return response
    }
}

extension OffsetFetchResponse.Partition {
    /// No offset, by an error or because none was committed.
    static func missing(_ index: Int32, _ error: ErrorCode = .none) -> Self {
        var partition = Self()
        partition.partitionIndex = index
        partition.committedOffset = -1
        partition.errorCode = error
        return partition
    }
}

extension DeleteGroupsRequest {
    func refused(_ error: ErrorCode) -> DeleteGroupsResponse {
        var response = DeleteGroupsResponse()
        response.results = groupsNames.map { .init($0, error) }
        return response
    }
}

extension DeleteGroupsResponse.Result {
    init(_ groupID: String, _ error: ErrorCode, _ sentence: String? = nil) {
        self.init()
        self.groupID = groupID
        errorCode = error
        errorMessage = sentence
    }
}

extension DescribeGroupsRequest {
    func refused(_ error: ErrorCode) -> DescribeGroupsResponse {
        var response = DescribeGroupsResponse()
        response.groups = groups.map { id in
            var group = DescribeGroupsResponse.Group()
            group.groupID = id
            group.errorCode = error
            return group
        }
        return response
    }
}
