// The voters as committed, for snapshots: what is in force may still be taken back.

import Model

extension RaftNode {
    package var committedVoters: VoterSet {
        laterVoters.last { $0.offset < highWatermark }?.voters ?? baseVoters
    }
}
