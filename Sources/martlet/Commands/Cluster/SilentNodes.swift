// Who does not answer: asked one by one where the cluster itself cannot tell, because it has no controller.

import MartletClient

/// An address at which no node answers, and why.
struct SilentNode: Sendable {
    /// Nil for a bootstrap address that no node advertises.
    var id: Int32?
    var address: BrokerAddress
    var reason: String

    var text: String { (id.map { "node \($0) at " } ?? "") + "\(address) (\(reason))" }
    var json: Json { .object(["id": id.json, "address": "\(address)".json, "reason": reason.json]) }

    /// Asks all addresses that are known at once: those that nodes advertise, then those of the command.
    static func find(_ cluster: ClusterClient, bootstrap: [BrokerAddress]) async -> [SilentNode] {
        let nodes = (try? await cluster.describeCluster().nodes) ?? []
        var asked: [(id: Int32?, address: BrokerAddress)] = nodes.map { ($0.id, $0.address) }
        for address in bootstrap where !asked.contains(where: { $0.address == address }) {
            asked.append((nil, address))
        }
        let reasons = await withTaskGroup(of: (Int, String?).self) { group in
            for (place, one) in asked.enumerated() {
                group.addTask { (place, await silence(at: one.address, cluster.configuration)) }
            }
            var found: [Int: String] = [:]
            for await (place, reason) in group { found[place] = reason }
            return found
        }
        return asked.enumerated().compactMap { place, one in
            reasons[place].map { SilentNode(id: one.id, address: one.address, reason: $0) }
        }
    }

    /// Nil when a node answers there.
    private static func silence(at address: BrokerAddress, _ configuration: ClientConfiguration) async -> String? {
        do {
            try await BrokerConnection.open(address, configuration).close()
            return nil
        } catch let error as ClientError {
            switch error {
            case .unreachable(_, let reason): return reason
            case .requestTimedOut: return "takes the connection and does not answer"
            case .connectionLost: return "closes the connection"
            default: return "is no Kafka node"
            }
        } catch {
            return "cannot be asked"
        }
    }
}

extension [SilentNode] {
    /// The rest of a sentence; empty when all answer.
    var list: String { isEmpty ? "" : "; no answer from " + map(\.text).joined(separator: ", ") }
}
