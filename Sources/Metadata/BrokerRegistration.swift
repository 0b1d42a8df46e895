// One broker as the metadata log has it: which incarnation, on which disk, reachable where, and whether it may serve.

import Model

package struct BrokerRegistration: Hashable, Sendable {
    package var id: NodeID
    /// The offset of the RegisterBroker record that made this registration.
    package var epoch: BrokerEpoch
    package var incarnationID: UUID128
    /// The one log directory of the node. A wiped disk comes back under another id.
    package var directoryID: UUID128
    package var endpoint: Endpoint
    package var rack: String?
    package var fenced: Bool
    package var inControlledShutdown: Bool

    package init(
        id: NodeID, epoch: BrokerEpoch, incarnationID: UUID128, directoryID: UUID128, endpoint: Endpoint,
        rack: String? = nil, fenced: Bool = true, inControlledShutdown: Bool = false
    ) {
        self.id = id
        self.epoch = epoch
        self.incarnationID = incarnationID
        self.directoryID = directoryID
        self.endpoint = endpoint
        self.rack = rack
        self.fenced = fenced
        self.inControlledShutdown = inControlledShutdown
    }

    /// Whether it may be given leaderships and enter an ISR (KIP-841).
    package var eligible: Bool { !fenced && !inControlledShutdown }
}
