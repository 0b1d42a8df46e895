// martlet cluster: describe, quorum and health.

import ArgumentParser
import MartletClient
import Model

struct ClusterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Show nodes, controller, quorum and health.",
        subcommands: [DescribeCluster.self, DescribeQuorum.self, ClusterHealthCommand.self],
        defaultSubcommand: DescribeCluster.self)
}

struct DescribeCluster: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show nodes, controller and a summary of the cluster's health.",
        discussion: "For scripts: martlet cluster describe --wait 3 --quiet; martlet cluster health --quiet")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "Wait (at most --patience) until there is a controller and this many nodes are registered.")
    var wait: Int?
    @Flag(name: .shortAndLong, help: "Print nothing but errors.") var quiet = false

    func validate() throws {
        if let wait, wait < 1 { throw ValidationError("--wait must be at least 1") }
    }

    func run() throws {
        let command = self
        try client.run { cluster in
            let health = try await command.look(at: cluster)
            guard !command.quiet else { return }
            try command.output.show(Self.document(health)) { Self.show(health, on: &$0) }
        }
    }

    /// One look, or with --wait one every 50 ms until the cluster stands.
    private func look(at cluster: ClusterClient) async throws -> ClusterHealth {
        guard let wait else { return try await cluster.health() }
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: .seconds(client.patience))
        while true {
            var missing = "no answer"
            do {
                let health = try await cluster.health()
                if health.hasController, health.registeredNodeCount >= wait { return health }
                missing =
                    health.hasController
                    ? "\(health.registeredNodeCount) of \(counted(wait, "node")) are registered"
                    : "there is no controller yet"
            } catch let error as ClientError where error.isRetriable {
                missing = error.description
            }
            guard clock.now < deadline else {
                throw CommandFailure(
                    "the cluster is not ready after \(client.patience) s: \(missing); see make logs NODE=1")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private static func show(_ health: ClusterHealth, on page: inout Page) {
        let quorum = health.quorum
        let controller =
            quorum.map { "node \($0.leader), epoch \($0.leaderEpoch)" }
            ?? (health.hasController ? health.cluster.controller.map { "node \($0)" } : nil)
        page.pieces(
            Cell("cluster \(health.cluster.clusterID ?? "-")", .bold),
            controller.map { Cell("controller \($0)") } ?? Cell("controller none", .bad),
            Cell(quorum.map { "metadata offset \($0.highWatermark)" } ?? ""))
        let hasRacks = health.cluster.nodes.contains { $0.rack != nil }
        var table = Table(
            .right("node"), .left("address"), .left("state"), .left("quorum"), .right("metadata end"),
            .left(hasRacks ? "rack" : ""))
        for node in health.cluster.nodes {
            table.add(
                Cell(node.id), Cell("\(node.address)"),
                node.isFenced ? Cell("fenced", .bad) : Cell("registered", .good),
                Cell(quorum?.role(of: node.id) ?? "-"),
                Cell(quorum?.replica(node.id)?.logEndOffset), Cell(node.rack ?? ""))
        }
        for id in health.missingNodes {
            table.add(Cell(id), "-", Cell("not registered", .bad), Cell(quorum?.role(of: id) ?? "-"), "-")
        }
        page.table(table)
        page.pieces(
            "topics \(health.topicCount)", "partitions \(health.partitionCount)",
            Cell("under-replicated \(health.count(of: .underReplicated))"),
            Cell("offline \(health.count(of: .offline))"))
        if health.isHealthy {
            page.line(Cell("healthy", .good))
        } else {
            page.line(Cell("not healthy", .bad), ": martlet cluster health")
        }
    }

    private static func document(_ health: ClusterHealth) -> Json {
        let quorum = health.quorum
        return .object([
            "clusterId": health.cluster.clusterID.json,
            "controller": (quorum?.leader ?? (health.hasController ? health.cluster.controller : nil)).json,
            "controllerEpoch": (quorum?.leaderEpoch).json, "metadataHighWatermark": (quorum?.highWatermark).json,
            "nodes": .array(
                health.cluster.nodes.map { node in
                    .object([
                        "id": node.id.json, "address": "\(node.address)".json, "rack": node.rack.json,
                        "fenced": node.isFenced.json, "quorumRole": (quorum?.role(of: node.id)).json,
                        "metadataEndOffset": (quorum?.replica(node.id)?.logEndOffset).json,
                    ])
                }),
            "missingNodes": health.missingNodes.json, "topics": health.topicCount.json,
            "partitions": health.partitionCount.json,
            "underReplicated": health.count(of: .underReplicated).json,
            "offline": health.count(of: .offline).json, "healthy": health.isHealthy.json,
        ])
    }
}

extension QuorumDescription {
    func replica(_ id: Int32) -> Replica? { (voters + observers).first { $0.nodeID == id } }

    func role(of id: Int32) -> String? {
        if id == leader { return "leader" }
        if voters.contains(where: { $0.nodeID == id }) { return "voter" }
        return observers.contains { $0.nodeID == id } ? "observer" : nil
    }
}
