// A broker as the metadata image knows it: who may be in an ISR.

import Model

package struct BrokerView: Hashable, Sendable {
    /// The incarnation that is registered now.
    package var epoch: BrokerEpoch
    /// Registered, unfenced and not in controlled shutdown: it may enter an ISR (KIP-841).
    package var eligible: Bool
    package var directoryID: UUID128

    package init(epoch: BrokerEpoch, eligible: Bool, directoryID: UUID128 = .zero) {
        self.epoch = epoch
        self.eligible = eligible
        self.directoryID = directoryID
    }
}
