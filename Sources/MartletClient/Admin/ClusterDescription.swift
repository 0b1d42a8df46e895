// The cluster as its nodes describe it: members, controller, and the metadata quorum.

import Wire

/// The members of a cluster.
public struct ClusterDescription: Equatable, Sendable {
    public struct Node: Equatable, Sendable {
        public var id: Int32
        /// Where clients are told to reach it.
        public var address: BrokerAddress
        public var rack: String?
        /// Registered, but taken out of service: it missed its heartbeats, or is still starting.
        public var isFenced: Bool

        public init(id: Int32, address: BrokerAddress, rack: String? = nil, isFenced: Bool = false) {
            self.id = id
            self.address = address
            self.rack = rack
            self.isFenced = isFenced
        }
    }

    public var clusterID: String?
    /// By id. Fenced nodes only where the cluster tells of them (DescribeCluster 2).
    public var nodes: [Node]
    /// The node to send controller requests to. In a KRaft cluster that may be any node, which forwards them:
    /// `QuorumDescription.leader` is the controller itself.
    public var controller: Int32?

    public init(clusterID: String?, nodes: [Node], controller: Int32?) {
        self.clusterID = clusterID
        self.nodes = nodes
        self.controller = controller
    }
}

/// The metadata quorum as its leader sees it.
public struct QuorumDescription: Equatable, Sendable {
    public struct Replica: Equatable, Sendable {
        public var nodeID: Int32
        /// The disk that the replica answers for, in Kafka's 22 characters; nil where the cluster does not say.
        public var directoryID: String?
        /// Nil: the leader has not heard from it.
        public var logEndOffset: Int64?
        /// Records that it has still to copy from the leader.
        public var lag: Int64?
        /// Milliseconds since 1970; nil where not served, or not known.
        public var lastFetchTimestampMs: Int64?
        public var lastCaughtUpTimestampMs: Int64?
    }

    public var leader: Int32
    public var leaderEpoch: Int32
    /// Every metadata record below it is committed.
    public var highWatermark: Int64
    public var voters: [Replica]
    /// Nodes that copy the metadata log and have no vote.
    public var observers: [Replica]
}

extension QuorumDescription {
    init?(_ partition: DescribeQuorumResponse.Partition) {
        guard partition.leaderID >= 0 else { return nil }
        leader = partition.leaderID
        leaderEpoch = partition.leaderEpoch
        highWatermark = partition.highWatermark
        let end = partition.currentVoters.first { $0.replicaID == partition.leaderID }?.logEndOffset.unlessNegative
        func described(_ replica: DescribeQuorumResponse.Replica) -> Replica {
            let own = replica.logEndOffset.unlessNegative
            var lag: Int64?
            if let own, let end { lag = max(0, end.subtractingReportingOverflow(own).partialValue) }
            return Replica(
                nodeID: replica.replicaID,
                directoryID: replica.replicaDirectoryID == .zero ? nil : "\(replica.replicaDirectoryID)",
                logEndOffset: own, lag: lag, lastFetchTimestampMs: replica.lastFetchTimestamp.unlessNegative,
                lastCaughtUpTimestampMs: replica.lastCaughtUpTimestamp.unlessNegative)
        }
        voters = partition.currentVoters.map(described).sorted { $0.nodeID < $1.nodeID }
        observers = partition.observers.map(described).sorted { $0.nodeID < $1.nodeID }
    }
}
