// The requests about groups that a coordinator answers, as they come from a connection.

import Groups
import Model
import NIOCore
import Wire

extension Shard {
    /// Nil: not one of them.
    func groupRequest(_ header: RequestHeader, _ body: ByteBuffer) throws(WireError) -> GroupRequest? {
        switch header.api {
        case .offsetCommit: .offsetCommit(try read(OffsetCommitRequest.self, header, body))
        case .offsetFetch: .offsetFetch(try read(OffsetFetchRequest.self, header, body))
        case .joinGroup: .joinGroup(try read(JoinGroupRequest.self, header, body))
        case .heartbeat: .heartbeat(try read(HeartbeatRequest.self, header, body))
        case .leaveGroup: .leaveGroup(try read(LeaveGroupRequest.self, header, body))
        case .syncGroup: .syncGroup(try read(SyncGroupRequest.self, header, body))
        case .describeGroups: .describeGroups(try read(DescribeGroupsRequest.self, header, body))
        case .listGroups: .listGroups(try read(ListGroupsRequest.self, header, body))
        case .deleteGroups: .deleteGroups(try read(DeleteGroupsRequest.self, header, body))
        case .offsetDelete: .offsetDelete(try read(OffsetDeleteRequest.self, header, body))
        case .consumerGroupHeartbeat:
            .consumerGroupHeartbeat(try read(ConsumerGroupHeartbeatRequest.self, header, body))
        case .consumerGroupDescribe:
            .consumerGroupDescribe(try read(ConsumerGroupDescribeRequest.self, header, body))
        default: nil
        }
    }
}
