// A damaged replica on its way back into the ISR, one stage after the other.

import Model
import Storage

final class ReplicaRepair {
    enum Stage {
        /// The controller does not know yet that this copy is not to be counted on.
        case telling
        /// It does: the copy is out of ISR and ELR, or is the last one and nobody leads.
        case planning
        case surveying(SegmentSurvey)
        /// Its end is lost, and others may be elected who have all that was committed: one of them must lead first.
        case yielding(SegmentSurvey)
        case rebuilding(SegmentRebuild)
        /// All is there again; the barrier that covers it is awaited.
        case settling
        /// The controller is told that the copy is whole.
        case returning

        var mayBeCountedOn: Bool {
            switch self {
            case .telling, .returning: true
            default: false
            }
        }
    }

    var stage = Stage.telling
    /// Whether the sound parts of the segment at hand are kept; not when they do not fit what peers have.
    var trustsRuns = true
    /// A peer knows nothing of the epoch that the gap is said to follow.
    var forksFromPeers = false
    /// A word to the controller is under way.
    var isTelling = false
    /// The barrier on the segment at hand.
    var ticket: FlushTicket?
    /// Peers that could not help with the range at hand.
    var tried: [NodeID] = []
    var isFetching = false
    /// Not before this is a peer, or the controller, asked again.
    var retryAt: Instant = .zero
    /// What was said last of why it does not go on; said once.
    var saidReason = ""
    var filledBytes: Int64 = 0

    /// Ends what is under way, without a trace.
    func abandon() {
        if case .rebuilding(let rebuild) = stage {
            rebuild.abandon()
            stage = .planning
        }
        ticket = nil
        tried = []
        isFetching = false
    }
}

/// A peer was asked for what a replica lacks.
struct RepairFetch {
    var topicPartition: TopicPartition
    var offset: Offset
    /// In which it was asked: that epoch's leader gives all that it has.
    var leaderEpoch: LeaderEpoch
}
