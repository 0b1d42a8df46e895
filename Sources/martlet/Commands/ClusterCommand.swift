// martlet cluster: nodes, controller, quorum and health, for people and for `make cluster`.

import ArgumentParser
import MartletClient
import Model

struct ClusterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Show nodes, controller, quorum and health.")

    @OptionGroup var client: ClientOptions
    @Flag(help: "Exit with 1 unless the cluster is healthy.") var check = false
    @Option(help: "Wait (at most --patience) until there is a controller and this many nodes are registered.")
    var wait: Int?
    @Flag(name: .shortAndLong, help: "Print nothing but errors.") var quiet = false

    func validate() throws {
        if let wait, wait < 1 { throw ValidationError("--wait must be at least 1") }
    }

    func run() throws {
        let command = self
        try client.run { cluster in
            let description = try await command.look(at: cluster)
            if !command.quiet { Self.show(description) }
            if command.check, !description.isHealthy { throw ExitCode(1) }
        }
    }

    /// One look, or with --wait one every 50 ms until the cluster stands.
    private func look(at cluster: ClusterClient) async throws -> ClusterDescription {
        guard let wait else { return try await cluster.describeCluster() }
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: .seconds(client.patience))
        while true {
            var missing = "no answer"
            do {
                let description = try await cluster.describeCluster()
                if description.controller != nil, description.registeredCount >= wait { return description }
                missing =
                    description.controller == nil
                    ? "there is no controller yet" : "\(description.registeredCount) of \(wait) nodes are registered"
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

    private static func show(_ cluster: ClusterDescription) {
        let controller = cluster.controller.map { "node \($0), epoch \(cluster.controllerEpoch)" } ?? "none"
        print(
            "cluster \(cluster.clusterID)  controller \(controller)  metadata offset \(cluster.metadataHighWatermark)")
        var rows = [["node", "address", "state", "quorum", "metadata end"]]
        for node in cluster.nodes {
            let replica = cluster.quorum.first { $0.id == node.id }
            let role = replica.map { $0.id == cluster.controller ? "leader" : $0.isVoter ? "voter" : "observer" }
            rows.append([
                "\(node.id)", "\(node.endpoint)", node.isFenced ? "fenced" : "registered", role ?? "-",
                replica.map { "\($0.logEndOffset)" } ?? "-",
            ])
        }
        // A voter that never registered is a node that is missing.
        for replica in cluster.quorum where !cluster.nodes.contains(where: { $0.id == replica.id }) {
            rows.append(["\(replica.id)", "-", "not registered", replica.isVoter ? "voter" : "observer", "-"])
        }
        printTable(rows)
        print(
            "topics \(cluster.topicCount)  partitions \(cluster.partitionCount)  "
                + "under-replicated \(cluster.underReplicatedCount)  offline \(cluster.offlineCount)")
        print(cluster.isHealthy ? "healthy" : "not healthy")
    }
}
