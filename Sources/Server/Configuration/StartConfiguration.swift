// All that one node's process is told: from cluster.yaml or from the command line, and the environment.

import Broker
import Model

package struct StartConfiguration: Sendable {
    package var node: NodeConfiguration
    package var listen: Endpoint
    package var connections = ConnectionSettings()
    package var flusherThreads = 4
    /// Event loops that own connections and partitions.
    package var shardThreads = 1
    package var openFilesMax = Limits.openFilesMax
    /// `MARTLET_LOG`.
    package var logLevelName: String?

    /// Node `id` of a cluster.
    package init(_ file: ClusterFile, nodeID: NodeID, environment: [String: String]) throws(ConfigurationError) {
        guard let own = file.nodes.first(where: { $0.id == nodeID }) else {
            let ids = file.nodes.map { String($0.id) }.joined(separator: ", ")
            throw ConfigurationError(file.path, line: nil, "there is no node \(nodeID): the file lists \(ids)")
        }
        var node = NodeConfiguration(
            nodeID: nodeID, voters: SortedMap(file.nodes.map { ($0.id, $0.advertised) }), advertised: own.advertised,
            dataDirectory: own.dataDirectory)
        node.rack = own.rack
        node.autoCreateTopics = file.defaults.autoCreateTopics
        node.defaultPartitions = file.defaults.partitions
        node.defaultReplicationFactor = file.defaults.replicationFactor
        node.topicDefaults = file.defaults.topics
        node.log = file.defaults.log
        node.groups = file.defaults.groups
        node.offsetsTopicPartitions = file.defaults.offsetsTopicPartitions
        node.offsetsTopicReplicationFactor = file.defaults.offsetsTopicReplicationFactor
        node.timing = file.defaults.timing
        self.node = node
        listen = own.listen
        connections = file.defaults.connections
        flusherThreads = file.defaults.flusherThreads
        shardThreads = file.defaults.shardThreads
        openFilesMax = file.defaults.openFilesMax
        try apply(environment)
    }

    /// A cluster of one node, without a file.
    package init(
        single nodeID: NodeID, listen: Endpoint, advertised told: String?, dataDirectory: String,
        environment: [String: String]
    ) throws(ConfigurationError) {
        if told == nil, listen.isWildcard {
            throw ConfigurationError(
                "--host", line: nil,
                "the node would listen on every address: say with --advertised HOST:PORT which one others use")
        }
        var advertised = listen
        if let told {
            guard let parsed = Endpoint(parsing: told) else {
                throw ConfigurationError("--advertised", line: nil, "is \(told), but must be HOST:PORT")
            }
            advertised = parsed
        }
        node = NodeConfiguration(
            nodeID: nodeID, voters: SortedMap([(nodeID, advertised)]), advertised: advertised,
            dataDirectory: dataDirectory)
        self.listen = listen
        try apply(environment)
    }

    /// `MARTLET_TIMING_SCALE` stretches the timeouts for slow test machines.
    private mutating func apply(_ environment: [String: String]) throws(ConfigurationError) {
        logLevelName = environment["MARTLET_LOG"]
        if let text = environment["MARTLET_TIMING_SCALE"], !text.isEmpty {
            guard let factor = Int64(text), (1...1_000).contains(factor) else {
                throw ConfigurationError(
                    "MARTLET_TIMING_SCALE", line: nil, "is \(text), but must be a whole number from 1 to 1000")
            }
            node.timing = node.timing.scaled(by: factor)
        }
    }
}
