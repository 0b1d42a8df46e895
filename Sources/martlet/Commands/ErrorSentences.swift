// What a client's error means to somebody at a shell: the library's sentence, and the step that follows.

import Glibc
import MartletClient

extension ClientError {
    /// One sentence with the next step.
    var sentence: String {
        switch self {
        case .noNodeAnswered(let addresses, let reason): Self.silence(of: addresses, reason)
        case .malformedAnswer(_, let address, _):
            "\(address) answers, but not as a Kafka node does: is that its port? martlet doctor"
        case .deliveryTimedOut, .gaveUp: Self.advised(description)
        case .unreachable, .connectionLost, .requestTimedOut:
            Self.advised(description)
        default: description
        }
    }

    private static func advised(_ sentence: String) -> String {
        sentence.contains("martlet ")
            ? sentence
            : sentence + ": martlet doctor says what cannot be reached, martlet cluster health what has no leader"
    }

    private static func silence(of addresses: [BrokerAddress], _ reason: String) -> String {
        let names = addresses.map(\.description).joined(separator: ", ")
        let unresolved = addresses.compactMap { address in
            resolutionTrouble(address.host).map { "the name \(address.host) does not resolve (\($0))" }
        }
        if !addresses.isEmpty, unresolved.count == addresses.count {
            return "no node can be found: \(unresolved[0]): correct the address; martlet doctor"
        }
        if reason.contains("closed the connection before it answered") {
            return "no Kafka node answers at \(names): the connection is taken and closed: is that a Kafka port? "
                + "martlet doctor"
        }
        if reason.contains("did not answer") {
            return "no node answers at \(names): the connection is taken and nothing comes: is that a Kafka port, and "
                + "does the process behind it run? martlet doctor"
        }
        if !unresolved.isEmpty {
            return "no node answered at \(names) (\(unresolved[0])): is the cluster started? make cluster"
        }
        return ClientError.noNodeAnswered(addresses, reason: reason).description
    }
}

/// Nil when the host is a numeric address or its name resolves; else why not.
func resolutionTrouble(_ host: String) -> String? {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(host, nil, &hints, &found)
    guard code == 0 else { return String(cString: gai_strerror(code)) }
    freeaddrinfo(found)
    return nil
}
