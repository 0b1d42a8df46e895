// What every client command shares: which cluster, how errors reach the user, and the way from a plain command to
// async.

import ArgumentParser
import MartletClient
import Glibc
import Model
import NIOCore
import NIOPosix
import Server

struct ClientOptions: ParsableArguments {
    @Option(
        name: [.short, .customLong("bootstrap")],
        help: "Nodes to ask first, host:port,host:port. Else MARTLET_BOOTSTRAP, cluster.yaml here, or 127.0.0.1:9092.")
    var bootstrap: String?

    @Option(help: "Seconds to keep trying before an operation fails.")
    var patience: Int = 30

    func validate() throws {
        if let bootstrap { _ = try endpoints(in: bootstrap) }
        guard patience >= 0 else { throw ValidationError("--patience must not be negative") }
    }

    /// Runs `body` with a client, prints what goes wrong as one sentence, and leaves with exit code 1 then.
    func run(_ body: @escaping @Sendable (ClusterClient) async throws -> Void) throws {
        var configuration = ClientConfiguration()
        configuration.patienceMs = Int64(patience) * 1_000
        let client = ClusterClient(bootstrap: try addresses(), configuration: configuration)
        let done = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Void.self)
        done.completeWithTask {
            defer { Task { await client.close() } }
            try await body(client)
        }
        do {
            try done.futureResult.wait()
        } catch let code as ExitCode {
            throw code
        } catch let error as ClientError {
            throw CommandFailure(error.description)
        }
    }

    private func addresses() throws -> [Endpoint] {
        if let bootstrap { return try endpoints(in: bootstrap) }
        if let variable = getenv("MARTLET_BOOTSTRAP").map({ String(cString: $0) }), !variable.isEmpty {
            return try endpoints(in: variable)
        }
        if access("cluster.yaml", R_OK) == 0 {
            do throws(ConfigurationError) {
                return try ClusterFile.load("cluster.yaml").nodes.map(\.advertised)
            } catch {
                throw CommandFailure("\(error); or name the cluster with --bootstrap")
            }
        }
        return [Endpoint(host: "127.0.0.1", port: 9092)]
    }
}

/// A failure that says all there is to say; exit code 1.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

func endpoints(in text: String) throws -> [Endpoint] {
    try text.split(separator: ",").map { part in
        let address = part.filter { $0 != " " }
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]),
            colon != address.startIndex
        else { throw ValidationError("'\(address)' is no address: write host:port") }
        let host = address[..<colon].trimmingBrackets
        return Endpoint(host: String(host), port: port)
    }
}

extension Substring {
    /// `::1` of `[::1]`.
    fileprivate var trimmingBrackets: Substring {
        hasPrefix("[") && hasSuffix("]") ? dropFirst().dropLast() : self
    }
}
