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
        if let bootstrap { _ = try endpoints(in: bootstrap, of: "--bootstrap") }
        guard patience >= 0 else { throw ValidationError("--patience must not be negative") }
    }

    /// Runs `body` with a client, prints what goes wrong as one sentence, and leaves with exit code 1 then.
    /// - Parameters:
    ///   - patienceSecondsMax: for commands that would rather say something early.
    ///   - newTopicPatienceMs: how long a topic that nobody knows may be on its way, longer for commands that make one.
    func run(
        patienceSecondsMax: Int = .max, newTopicPatienceMs: Int64 = 400,
        _ body: @escaping @Sendable (ClusterClient) async throws -> Void
    ) throws {
        var configuration = ClientConfiguration()
        configuration.patienceMs = Int64(min(patience, patienceSecondsMax, 1_000_000_000)) * 1_000
        configuration.newTopicPatienceMs = newTopicPatienceMs
        let addresses = try addresses()
        let client = ClusterClient(bootstrap: addresses, configuration: configuration)
        let done = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Void.self)
        done.completeWithTask {
            defer { Task { await client.close() } }
            try await body(client)
        }
        // Whatever `body` waits for when Ctrl-C is pressed: the process ends, and all that runs in it.
        let watch = Task {
            try await Interrupt.outlived()
            done.fail(CommandFailure(Interrupt.lastWords))
        }
        defer { watch.cancel() }
        do {
            try done.futureResult.wait()
        } catch let error as ClientError {
            throw CommandFailure(error.sentence)
        }
    }

    func addresses() throws -> [Endpoint] {
        if let bootstrap { return try endpoints(in: bootstrap, of: "--bootstrap") }
        if let variable = environment("MARTLET_BOOTSTRAP"), !variable.isEmpty {
            return try endpoints(in: variable, of: "MARTLET_BOOTSTRAP")
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

/// `source`: where the text comes from, for the sentence that says what is wrong with it.
func endpoints(in text: String, of source: String) throws -> [Endpoint] {
    let found = try text.split(separator: ",").map { part in
        let address = part.filter { $0 != " " }
        func wrong(_ reason: String) -> ValidationError { ValidationError("\(source): '\(address)' \(reason)") }
        if address.contains("://") { throw wrong("is a URL: write host:port, without what stands before the host") }
        guard let colon = address.lastIndex(of: ":"), colon != address.startIndex else {
            throw wrong("is no address: write host:port")
        }
        guard let port = UInt16(address[address.index(after: colon)...]), port > 0 else {
            throw wrong("has no port from 1 to 65535: write host:port")
        }
        let host = address[..<colon].trimmingBrackets
        guard !host.contains("/") else { throw wrong("is no address: write host:port") }
        return Endpoint(host: String(host), port: port)
    }
    guard !found.isEmpty else { throw ValidationError("\(source) names no address: write host:port,host:port") }
    return found
}

/// A topic name that no cluster can have is told from one that this cluster does not have.
func checkTopicName(_ name: String) throws {
    guard !isValidTopicName(name) else { return }
    throw ValidationError("'\(name.printable)' is no topic name: 1 to 249 letters, digits, '.', '_' and '-'")
}

extension Substring {
    /// `::1` of `[::1]`.
    fileprivate var trimmingBrackets: Substring {
        hasPrefix("[") && hasSuffix("]") ? dropFirst().dropLast() : self
    }
}
