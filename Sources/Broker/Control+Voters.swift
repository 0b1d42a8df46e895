// A wiped node's way back into the quorum: when its new disk has caught up, the controller removes the old voter and
// then adds the new one.

import Metadata
import Model
import Raft

/// The change under way; two changes, never one.
enum VoterChange: Equatable {
    case removing(ReplicaKey, RequestID)
    case adding(ReplicaKey, RequestID)
}

extension Control {
    func replaceWipedVoters() {
        guard canDecide, voterChange == nil, let raft, raft.isHighWatermarkOfEpoch else { return }
        for broker in image.brokers.values where configuration.voters[broker.id] != nil && !broker.fenced {
            let key = ReplicaKey(id: broker.id, directoryID: broker.directoryID)
            guard !raft.voters.contains(key), key.id != me, let progress = raft.progress(of: key),
                let fetched = progress.fetchedOffset, fetched >= raft.highWatermark
            else { continue }
            nextRequestID += 1
            if let old = raft.voters.voter(broker.id) {
                log(.notice, "quorum: removing voter \(old.key), whose disk is gone; \(key) has caught up")
                voterChange = .removing(old.key, nextRequestID)
                return quorum(.voterRemovalRequested(old.key, nextRequestID))
            }
            log(.notice, "quorum: adding voter \(key)")
            voterChange = .adding(key, nextRequestID)
            return quorum(.voterAdditionRequested(Voter(key: key, endpoint: broker.endpoint), nextRequestID))
        }
    }

    func voterChangeAnswered(_ id: RequestID, _ error: ErrorCode) {
        switch voterChange {
        case .removing(let key, id), .adding(let key, id):
            if error != .none { log(.warning, "quorum: the change of voter \(key) is not done: \(error)") }
            voterChange = nil
        default: break
        }
    }
}
