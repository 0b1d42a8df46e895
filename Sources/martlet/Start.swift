// martlet start: one node, in the foreground.

import ArgumentParser
import Model
import Server

struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Start a node.",
        discussion: """
            Without --config it is a cluster of one node. An empty data directory formats itself. SIGTERM or Ctrl-C \
            stops the node in order; a second one ends it at once. MARTLET_LOG=debug|info|warning|error sets what is \
            logged to standard error.
            """)

    @Option(help: "The cluster's YAML file; see cluster.yaml.")
    var config: String?

    @Option(help: "Which node of the file this is.")
    var node: Int32?

    @Option(help: "The address to listen on, without --config (default: 127.0.0.1).")
    var host: String?

    @Option(help: "The port to listen on, without --config (default: 9092).")
    var port: UInt16?

    @Option(help: "HOST:PORT that clients are told, without --config (default: where it listens).")
    var advertised: String?

    @Option(help: "The data directory, without --config (default: ./martlet-data).")
    var data: String?

    func validate() throws {
        if config == nil {
            if let node, node < 1 { throw ValidationError("--node must be 1 or more") }
            if port == 0 { throw ValidationError("--port must be 1 or more") }
            return
        }
        if node == nil { throw ValidationError("--config needs --node: which of the file's nodes to start") }
        if host != nil || port != nil || advertised != nil || data != nil {
            throw ValidationError("--host, --port, --advertised and --data go without --config: the file says them")
        }
    }

    func run() throws {
        let configuration: StartConfiguration
        do throws(ConfigurationError) {
            configuration = try startConfiguration()
        } catch {
            writeToStandardError("martlet: \(error.description)\n")
            throw ExitCode(1)
        }
        let code = NodeProcess.run(configuration)
        if code != 0 { throw ExitCode(code) }
    }

    private func startConfiguration() throws(ConfigurationError) -> StartConfiguration {
        let environment = ProcessEnvironment.variables()
        if let config {
            return try StartConfiguration(try ClusterFile.load(config), nodeID: node ?? 1, environment: environment)
        }
        let listen = Endpoint(host: host ?? "127.0.0.1", port: port ?? 9_092)
        return try StartConfiguration(
            single: node ?? 1, listen: listen, advertised: advertised, dataDirectory: data ?? "./martlet-data",
            environment: environment)
    }
}
