// Groups as their coordinators tell of them.

import Model
import Wire

/// A group in a list.
public struct GroupListing: Equatable, Sendable {
    public var groupID: String
    /// `consumer` for consumers; Connect and others have words of their own. Empty: only offsets, by no member.
    public var protocolType: String
    /// Kafka's word, such as `Stable`, `Empty`, `PreparingRebalance`; nil where the node does not say.
    public var state: String?
    /// `classic` or `consumer` (KIP-848); nil where the node does not say.
    public var type: String?
    public var coordinator: Int32
}

/// All groups of a cluster, by name.
public struct GroupList: Equatable, Sendable {
    public var groups: [GroupListing]
    /// Nodes that did not answer; groups that only they coordinate are missing.
    public var silentNodes: [Int32]
}

/// A group and its members.
public struct GroupDescription: Equatable, Sendable {
    public var groupID: String
    public var state: String
    /// Whether the members take part by `classic` or by the next-generation protocol.
    public var groupProtocol: GroupProtocol
    public var protocolType: String
    /// Who assigns partitions; empty where nobody has yet.
    public var assignor: String
    /// Next generation only.
    public var epoch: Int32?
    public var coordinator: ClusterDescription.Node
    /// Nil where the coordinator has seen none, or is no Martlet.
    public var lastRebalance: GroupRebalance?
    /// By id.
    public var members: [GroupMember]
}

/// Why and when a group's partitions were dealt out anew.
public struct GroupRebalance: Equatable, Sendable {
    /// A sentence, which names the members that it was for.
    public var reason: String
    /// Since 1970, by the coordinator's clock.
    public var atMs: Int64

    init?(reason: String?, atMs: Int64) {
        guard let reason else { return nil }
        self.reason = reason
        self.atMs = atMs
    }
}

public struct GroupMember: Equatable, Sendable {
    public var memberID: String
    public var instanceID: String?
    public var clientID: String
    /// Kafka puts a slash before the address.
    public var clientHost: String
    /// What it reads. Empty for members of protocol types that this build cannot read.
    public var assignment: [TopicPartition]
    /// What it shall read when the rebalance is over; nil in the classic protocol.
    public var target: [TopicPartition]?
    /// Next generation only; who lags behind the group's has not caught up with the rebalance.
    public var epoch: Int32?
}

extension GroupDescription {
    init(_ group: DescribeGroupsResponse.Group, _ coordinator: ClusterDescription.Node) {
        self.init(
            groupID: group.groupID, state: group.groupState, groupProtocol: .classic,
            protocolType: group.protocolType, assignor: group.protocolData, epoch: nil, coordinator: coordinator,
            lastRebalance: GroupRebalance(reason: group.rebalanceReason, atMs: group.rebalancedAtMs),
            members: group.members.map { member in
                var assignment: [TopicPartition] = []
                if group.protocolType == ConsumerProtocol.type,
                    let said = try? ConsumerProtocolAssignment.decode(member.memberAssignment)
                {
                    assignment = said.assignedPartitions.flatMap { topic in
                        topic.partitions.map { TopicPartition(topic.topic, $0) }
                    }.sorted()
                }
                return GroupMember(
                    memberID: member.memberID, instanceID: member.groupInstanceID, clientID: member.clientID,
                    clientHost: member.clientHost, assignment: assignment, target: nil, epoch: nil)
            }.sorted { $0.memberID < $1.memberID })
    }

    init(_ group: ConsumerGroupDescribeResponse.Group, _ coordinator: ClusterDescription.Node) {
        func partitions(_ assignment: ConsumerGroupDescribeResponse.Assignment) -> [TopicPartition] {
            assignment.topicPartitions.flatMap { topic in
                topic.partitions.map { TopicPartition(topic.topicName, $0) }
            }.sorted()
        }
        self.init(
            groupID: group.groupID, state: group.groupState, groupProtocol: .nextGeneration,
            protocolType: ConsumerProtocol.type, assignor: group.assignorName, epoch: group.groupEpoch,
            coordinator: coordinator,
            lastRebalance: GroupRebalance(reason: group.rebalanceReason, atMs: group.rebalancedAtMs),
            members: group.members.map { member in
                GroupMember(
                    memberID: member.memberID, instanceID: member.instanceID, clientID: member.clientID,
                    clientHost: member.clientHost, assignment: partitions(member.assignment),
                    target: partitions(member.targetAssignment), epoch: member.memberEpoch)
            }.sorted { $0.memberID < $1.memberID })
    }
}
