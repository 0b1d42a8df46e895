// What a node says when the controller does not register it: it asks several times a second, and says it seldom.

import Model

package struct RegistrationRefusal {
    private var told: (code: ErrorCode, since: Instant, isError: Bool)?

    package init() {}

    /// Takes the answer to a registration. A refusal is told once, and once more when it lasts: for a moment after a
    /// start the process before it may seem to live.
    package mutating func noted(
        _ code: ErrorCode, of node: NodeID, patienceMs: Int64, at now: Instant
    ) -> LogLine? {
        let cause: String
        switch code {
        case .duplicateBrokerRegistration: cause = "another process runs as node \(node)"
        case .inconsistentClusterId: cause = "its data directory belongs to another cluster"
        default:
            told = nil
            return nil
        }
        guard let before = told, before.code == code else {
            told = (code, now, false)
            return LogLine(.notice, "the controller does not register this node yet: \(code)")
        }
        guard !before.isError, now >= before.since.advanced(byMs: patienceMs) else { return nil }
        told = (code, before.since, true)
        return LogLine(.error, "the controller refuses this node: \(code): \(cause)")
    }
}
