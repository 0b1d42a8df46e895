// martlet start: one node, in the foreground.

import ArgumentParser
import Glibc
import Model
import Server

struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Start a node.",
        discussion: """
            Without --config and --node it is a cluster of one node; with --node alone, that node of the cluster.yaml \
            here. An empty data directory formats itself. SIGTERM or Ctrl-C stops the node in order; a second one \
            ends it at once. MARTLET_LOG=debug|info|warning|error sets what is logged to standard error.
            """)

    @Option(help: "The cluster's YAML file; see cluster.yaml.", completion: .file(extensions: ["yaml", "yml"]))
    var config: String?

    @Option(help: "Which node of the file this is.")
    var node: Int32?

    @Option(help: "The address to listen on, without --config (default: 127.0.0.1).")
    var host: String?

    @Option(help: "The port to listen on, without --config (default: 9092).")
    var port: UInt16?

    @Option(help: "HOST:PORT that clients are told, without --config (default: where it listens).")
    var advertised: String?

    @Option(help: "The data directory, without --config (default: ./martlet-data).", completion: .directory)
    var data: String?

    func validate() throws {
        if let node, node < 1 { throw ValidationError("--node must be 1 or more") }
        if port == 0 { throw ValidationError("--port must be 1 or more") }
        if config == nil {
            guard node != nil else { return }
            // A node of that number, alone in a cluster of its own, is not what somebody wants who names it.
            guard access(Self.usualFile, R_OK) == 0 else {
                throw ValidationError("--node needs --config, or a cluster.yaml here: which file names the node?")
            }
        }
        if node == nil { throw ValidationError("--config needs --node: which of the file's nodes to start") }
        if host != nil || port != nil || advertised != nil || data != nil {
            throw ValidationError(
                "--host, --port, --advertised and --data go without --config and --node: the file says them")
        }
    }

    private static let usualFile = "cluster.yaml"

    func run() throws {
        let configuration: StartConfiguration
        do throws(ConfigurationError) {
            configuration = try startConfiguration()
        } catch {
            throw CommandFailure(error.description)
        }
        let code = NodeProcess.run(configuration)
        if code != 0 { throw ExitCode(code) }
    }

    private func startConfiguration() throws(ConfigurationError) -> StartConfiguration {
        let environment = ProcessEnvironment.variables()
        if let node {
            let file = try ClusterFile.load(config ?? Self.usualFile)
            return try StartConfiguration(file, nodeID: node, environment: environment)
        }
        let listen = Endpoint(host: host ?? "127.0.0.1", port: port ?? 9_092)
        return try StartConfiguration(
            single: 1, listen: listen, advertised: advertised, dataDirectory: data ?? "./martlet-data",
            environment: environment)
    }
}
