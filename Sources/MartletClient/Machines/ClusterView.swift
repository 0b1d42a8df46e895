// What the client knows of the cluster: nodes, and of each topic it asked for who leads which partition.

import Model
import Wire

package struct ClusterView: Equatable, Sendable {
    package struct Partition: Equatable, Sendable {
        package var index: PartitionIndex
        package var leader: NodeID?
        package var leaderEpoch: LeaderEpoch
        package var replicas: [NodeID]
        package var isr: [NodeID]
        package var offlineReplicas: [NodeID]

        package init(
            index: PartitionIndex, leader: NodeID?, leaderEpoch: LeaderEpoch, replicas: [NodeID] = [],
            isr: [NodeID] = [], offlineReplicas: [NodeID] = []
        ) {
            self.index = index
            self.leader = leader
            self.leaderEpoch = leaderEpoch
            self.replicas = replicas
            self.isr = isr
            self.offlineReplicas = offlineReplicas
        }

        package var isUnderReplicated: Bool { isr.count < replicas.count }
        package var isOffline: Bool { leader == nil }
    }

    package struct Topic: Equatable, Sendable {
        package var name: String
        package var id: UUID128
        package var isInternal: Bool
        /// By index.
        package var partitions: [Partition]

        package init(name: String, id: UUID128 = UUID128(), isInternal: Bool = false, partitions: [Partition]) {
            self.name = name
            self.id = id
            self.isInternal = isInternal
            self.partitions = partitions
        }
    }

    package private(set) var clusterID: String?
    package private(set) var nodes = SortedMap<NodeID, Endpoint>()
    package private(set) var controllerID: NodeID?
    package private(set) var topics = SortedMap<String, Topic>()

    package init() {}

    /// Takes a Metadata answer in: nodes are replaced, the topics it names are replaced, others stay.
    package mutating func learned(_ response: MetadataResponse) {
        clusterID = response.clusterID ?? clusterID
        nodes = SortedMap(
            response.brokers.map { ($0.nodeID, Endpoint(host: $0.host, port: UInt16(clamping: $0.port))) })
        controllerID = response.controllerID >= 0 ? response.controllerID : nil
        for topic in response.topics {
            guard let name = topic.name else { continue }
            guard topic.errorCode == .none else {
                topics[name] = nil
                continue
            }
            let partitions = topic.partitions.sorted { $0.partitionIndex < $1.partitionIndex }.map { partition in
                Partition(
                    index: partition.partitionIndex, leader: partition.leaderID >= 0 ? partition.leaderID : nil,
                    leaderEpoch: partition.leaderEpoch, replicas: partition.replicaNodes, isr: partition.isrNodes,
                    offlineReplicas: partition.offlineReplicas)
            }
            topics[name] = Topic(
                name: name, id: topic.topicID, isInternal: topic.isInternal, partitions: partitions)
        }
    }

    /// Takes in the addresses of single nodes.
    package mutating func learned(_ nodes: [(NodeID, Endpoint)]) {
        for (node, endpoint) in nodes { self.nodes[node] = endpoint }
    }

    /// Drops what is known of a topic, so that the next question asks the cluster.
    package mutating func doubted(_ topic: String) { topics[topic] = nil }
}
