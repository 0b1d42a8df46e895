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
    /// - Parameter patienceSecondsMax: for commands that would rather say something early.
    func run(
        patienceSecondsMax: Int = .max, _ body: @escaping @Sendable (ClusterClient) async throws -> Void
    ) throws {
        var configuration = ClientConfiguration()
        configuration.patienceMs = Int64(min(patience, patienceSecondsMax, 1_000_000_000)) * 1_000
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

    func addresses() throws -> [Endpoint] {
        if let bootstrap { return try endpoints(in: bootstrap) }
        if let variable = environment("MARTLET_BOOTSTRAP"), !variable.isEmpty {
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

    /// Where `addresses` takes them from.
    var addressSource: String {
        if bootstrap != nil { return "--bootstrap" }
        if let variable = environment("MARTLET_BOOTSTRAP"), !variable.isEmpty { return "MARTLET_BOOTSTRAP" }
        return access("cluster.yaml", R_OK) == 0 ? "cluster.yaml" : "the default"
    }
}

/// A failure that says all there is to say; exit code 1.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

func endpoints(in text: String) throws -> [Endpoint] {
    let found = try text.split(separator: ",").map { part in
        let address = part.filter { $0 != " " }
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]),
            colon != address.startIndex
        else { throw ValidationError("'\(address)' is no address: write host:port") }
        let host = address[..<colon].trimmingBrackets
        return Endpoint(host: String(host), port: port)
    }
    guard !found.isEmpty else { throw ValidationError("'\(text)' names no address: write host:port,host:port") }
    return found
}

extension Substring {
    /// `::1` of `[::1]`.
    fileprivate var trimmingBrackets: Substring {
        hasPrefix("[") && hasSuffix("]") ? dropFirst().dropLast() : self
    }
}
