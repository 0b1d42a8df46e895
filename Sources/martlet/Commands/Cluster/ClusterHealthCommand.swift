// martlet cluster health: what is wrong, the worst first, and a verdict that scripts can branch on.

import ArgumentParser
import MartletClient

struct ClusterHealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Show what is wrong with the cluster; exit code 1 when it is not healthy.",
        discussion: """
            Not healthy: no controller, a node that is fenced or missing, or a partition that is offline, below \
            min.insync.replicas or under-replicated. A leader away from its first replica is a warning.
            """)

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Flag(help: "Leaders away from their first replica are a failure too.") var strict = false
    @Option(help: "Show at most this many partitions.") var limit = 20
    @Flag(name: .shortAndLong, help: "Print nothing but errors; the exit code says it.") var quiet = false

    func validate() throws {
        guard limit >= 0 else { throw ValidationError("--limit must not be negative") }
    }

    func run() throws {
        let command = self
        let addresses = try client.addresses()
        try client.run { cluster in
            let health = try await cluster.health()
            if !command.quiet {
                // Without a controller nobody keeps a list of who is away.
                let silent = health.hasController ? [] : await SilentNode.find(cluster, bootstrap: addresses)
                try command.output.show(command.document(health, silent)) { command.show(health, silent, on: &$0) }
            }
            guard health.isHealthy, health.isBalanced || !command.strict else { throw ExitCode(1) }
        }
    }

    private func show(_ health: ClusterHealth, _ silent: [SilentNode], on page: inout Page) {
        let nodes = health.cluster.nodes.count + health.missingNodes.count
        page.pieces(
            "nodes \(health.registeredNodeCount) of \(nodes)",
            Cell(
                "controller " + (health.controller.map { "node \($0)" } ?? "none"), health.hasController ? .plain : .bad
            ),
            "topics \(health.topicCount)", "partitions \(health.partitionCount)")
        if !health.findings.isEmpty, limit > 0 {
            var table = Table(
                .left("topic"), .right("partition"), .right("leader"), .left("replicas"), .left("isr"), .right("min"),
                .left("trouble"))
            for finding in health.findings.prefix(limit) {
                let style: Style = finding.troubles[0] == .leaderAway ? .warning : .bad
                table.add(
                    Cell(finding.topic), Cell(finding.partition.index),
                    Cell(finding.partition.leader.map { "\($0)" } ?? "none"), Cell(finding.partition.replicas.list),
                    Cell(finding.partition.inSyncReplicas.list), Cell(finding.minInSyncReplicas),
                    Cell(finding.troubles.map(\.description).joined(separator: ", "), style))
            }
            page.table(table)
            let rest = health.findings.count - limit
            if rest > 0 { page.line("and \(counted(rest, "partition")) more: --limit \(health.findings.count)") }
        }
        page.line(verdict(health, silent))
    }

    private func verdict(_ health: ClusterHealth, _ silent: [SilentNode]) -> Cell {
        var reasons: [String] = []
        if health.cluster.nodes.isEmpty {
            reasons.append("it has not formed yet: every node must be started and reach every other; martlet doctor")
        } else if !health.hasController {
            reasons.append("no controller: more than half of the voters must run" + silent.list)
        }
        if !health.missingNodes.isEmpty {
            reasons.append("not registered: \(nodeList(health.missingNodes)); is it started?")
        }
        if !health.fencedNodes.isEmpty {
            reasons.append("fenced: \(nodeList(health.fencedNodes)); is it running? see its log")
        }
        for trouble in ClusterHealth.Trouble.allCases where trouble != .leaderAway || health.isHealthy {
            let count = health.count(of: trouble)
            if count > 0 { reasons.append("\(counted(count, "partition")) \(trouble)") }
        }
        let isGood = health.isHealthy && (health.isBalanced || !strict)
        let word = isGood ? "healthy" : "not healthy"
        let style: Style = !isGood ? .bad : reasons.isEmpty ? .good : .warning
        return Cell(reasons.isEmpty ? word : word + ": " + reasons.joined(separator: "; "), style)
    }

    private func nodeList(_ ids: [Int32]) -> String { "node\(ids.count == 1 ? "" : "s") \(ids.list)" }

    private func document(_ health: ClusterHealth, _ silent: [SilentNode]) -> Json {
        let isGood = health.isHealthy && (health.isBalanced || !strict)
        return .object([
            "healthy": isGood.json, "controller": health.controller.json,
            "nodes": health.cluster.nodes.map(\.id).json, "fencedNodes": health.fencedNodes.json,
            "missingNodes": health.missingNodes.json, "silentNodes": .array(silent.map(\.json)),
            "topics": health.topicCount.json,
            "partitions": health.partitionCount.json, "offline": health.count(of: .offline).json,
            "belowMinIsr": health.count(of: .belowMinInSync).json,
            "underReplicated": health.count(of: .underReplicated).json,
            "leadersAway": health.count(of: .leaderAway).json,
            "findings": .array(
                health.findings.prefix(limit).map { finding in
                    .object([
                        "topic": finding.topic.json, "partition": finding.partition.index.json,
                        "leader": finding.partition.leader.json, "replicas": finding.partition.replicas.json,
                        "isr": finding.partition.inSyncReplicas.json,
                        "minInSyncReplicas": finding.minInSyncReplicas.json,
                        "troubles": finding.troubles.map(\.description).json,
                    ])
                }),
        ])
    }
}

extension ClusterHealth {
    /// The leader of the quorum, or whom a cluster without one names.
    var controller: Int32? { hasController ? quorum?.leader ?? cluster.controller : nil }
}
