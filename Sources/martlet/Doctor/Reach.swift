// Whether an address leads to a Kafka node: its name resolves, its port is open, and ApiVersions is answered.

import MartletClient

extension Examination {
    struct Unreachable {
        /// The rest of a sentence.
        var reason: String
        var fix: String
    }

    /// Nil: a node answers there.
    func reach(_ address: BrokerAddress) async -> Unreachable? {
        if let trouble = resolutionTrouble(address.host) {
            return Unreachable(
                reason: "the name \(address.host) does not resolve (\(trouble))",
                fix: "correct the name, or add it to DNS or /etc/hosts")
        }
        do {
            try await BrokerConnection.open(address, cluster.configuration).close()
            return nil
        } catch let error as ClientError {
            return explain(error, address)
        } catch {
            return Unreachable(reason: "\(error)", fix: "see the log of the node")
        }
    }

    /// What to correct: of cluster.yaml the bootstrap addresses are those that its nodes advertise.
    private var origin: String {
        source == "cluster.yaml" ? "its host, port or advertised in cluster.yaml" : "the address"
    }

    private func explain(_ error: ClientError, _ address: BrokerAddress) -> Unreachable {
        switch error {
        case .unreachable(_, let reason) where reason == "connection refused":
            Unreachable(
                reason: "nothing listens there (connection refused)",
                fix: "start the node (make cluster, or martlet start), or correct \(origin)")
        case .unreachable(_, let reason):
            Unreachable(
                reason: "it cannot be reached (\(reason))",
                fix: "look at the network and firewalls between here and \(address.host), or correct \(origin)")
        case .connectionLost:
            Unreachable(
                reason: "it closes the connection before it answers",
                fix: "is that a Kafka port without TLS and SASL? name the one that is")
        case .requestTimedOut:
            Unreachable(
                reason: "it takes the connection and does not answer",
                fix: "is that a Kafka port, and is the process behind it stopped or overloaded? see its log")
        case .malformedAnswer:
            Unreachable(
                reason: "it answers, but not as a Kafka node does",
                fix: "is that a Kafka port without TLS and SASL? name the one that is")
        default:
            Unreachable(
                reason: error.description, fix: "name a Kafka port, of a version that is not much older or newer")
        }
    }
}
