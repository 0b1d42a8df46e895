// AlterPartition (KIP-497): the change a leader asks of the controller, and the controller's word.

import Model

/// A member of a proposed ISR with the incarnation the leader means (KIP-903).
package struct ISRMember: Hashable, Sendable {
    package var id: NodeID
    package var brokerEpoch: BrokerEpoch

    package init(id: NodeID, brokerEpoch: BrokerEpoch) {
        self.id = id
        self.brokerEpoch = brokerEpoch
    }
}

package struct ISRProposal: Hashable, Sendable {
    package var leaderEpoch: LeaderEpoch
    /// The committed state that the change starts from.
    package var partitionEpoch: PartitionEpoch
    /// In assignment order.
    package var isr: [ISRMember]
    package var recoveryState: LeaderRecoveryState

    package init(
        leaderEpoch: LeaderEpoch, partitionEpoch: PartitionEpoch, isr: [ISRMember], recoveryState: LeaderRecoveryState
    ) {
        self.leaderEpoch = leaderEpoch
        self.partitionEpoch = partitionEpoch
        self.isr = isr
        self.recoveryState = recoveryState
    }
}

/// The partition's state in a successful AlterPartition answer.
package struct ISRAnswer: Hashable, Sendable {
    package var leaderID: NodeID?
    package var leaderEpoch: LeaderEpoch
    package var isr: [NodeID]
    package var recoveryState: LeaderRecoveryState
    package var partitionEpoch: PartitionEpoch

    package init(
        leaderID: NodeID?, leaderEpoch: LeaderEpoch, isr: [NodeID], recoveryState: LeaderRecoveryState = .recovered,
        partitionEpoch: PartitionEpoch
    ) {
        self.leaderID = leaderID
        self.leaderEpoch = leaderEpoch
        self.isr = isr
        self.recoveryState = recoveryState
        self.partitionEpoch = partitionEpoch
    }
}
