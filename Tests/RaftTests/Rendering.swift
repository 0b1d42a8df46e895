// Inputs and effects on one short line each, for golden scripts and traces.

import Model
import Raft

private func name(_ key: ReplicaKey) -> String { "\(key.id)@\(key.directoryID.low)" }
private func names(_ keys: [ReplicaKey]) -> String { "[" + keys.map(name).joined(separator: " ") + "]" }
private func names(_ voters: VoterSet) -> String { names(voters.voters.map(\.key)) }
private func name(_ id: NodeID?) -> String { id.map { "n\($0)" } ?? "none" }

func render(_ input: RaftInput) -> String {
    switch input {
    case .ticked: "ticked"
    case .saved(let state): "saved epoch=\(state.epoch) voted=\(state.voted.map(name) ?? "-")"
    case .appended(let end, _, let voters):
        "appended end=\(end)" + voters.map { " voters=\(names($0.voters))" }.joined()
    case .flushed(let through): "flushed \(through)"
    case .snapshotInstalled(let end, let voters): "snapshotInstalled \(end) voters=\(names(voters))"
    case .logStartAdvanced(let to): "logStartAdvanced \(to)"
    case .voteRequested(let request, let id):
        "voteRequested #\(id) \(request.preVote ? "pre " : "")by \(name(request.candidate)) of \(name(request.voter)) "
            + "epoch=\(request.epoch) log=\(request.logEnd)"
    case .beginQuorumEpochReceived(let leader, let epoch, let voter, let id):
        "beginQuorumEpochReceived #\(id) n\(leader) epoch=\(epoch) voter=\(name(voter))"
    case .endQuorumEpochReceived(let leader, let epoch, let preferred, let id):
        "endQuorumEpochReceived #\(id) n\(leader) epoch=\(epoch) preferred=\(names(preferred))"
    case .fetchReceived(let fetch, let id): "fetchReceived #\(id) \(render(fetch))"
    case .fetchCancelled(let id): "fetchCancelled #\(id)"
    case .snapshotChunkFetched(let by, let epoch): "snapshotChunkFetched \(name(by)) epoch=\(epoch)"
    case .voteAnswered(let response, let from): "voteAnswered n\(from) \(render(response))"
    case .beginQuorumEpochAnswered(let from, let error, let epoch, let leader):
        "beginQuorumEpochAnswered n\(from) \(error) epoch=\(epoch) leader=\(name(leader))"
    case .fetchAnswered(let answer):
        "fetchAnswered n\(answer.from) \(render(answer.verdict)) hw=\(answer.highWatermark) epoch=\(answer.epoch) "
            + "leader=\(name(answer.leaderID))\(answer.hasRecords ? " with records" : "")"
    case .requestFailed(let request, let to): "requestFailed \(request) n\(to)".replacing("Raft.RaftRequest.", with: "")
    case .peerDied(let id): "peerDied n\(id)"
    case .voterAdditionRequested(let voter, let id): "voterAdditionRequested #\(id) \(name(voter.key))"
    case .voterRemovalRequested(let key, let id): "voterRemovalRequested #\(id) \(name(key))"
    case .resignationRequested: "resignationRequested"
    }
}

private func render(_ fetch: QuorumFetch) -> String {
    "\(name(fetch.replica)) offset=\(fetch.fetchOffset) last=\(fetch.lastFetchedEpoch) "
        + "epoch=\(fetch.currentLeaderEpoch) hw=\(fetch.highWatermark)"
}

private func render(_ response: VoteResponse) -> String {
    (response.preVote ? "pre " : "") + (response.granted ? "granted" : "refused")
        + (response.error == .none ? "" : " \(response.error)")
        + " epoch=\(response.epoch) leader=\(name(response.leaderID))"
}

private func render(_ verdict: FetchVerdict) -> String {
    switch verdict {
    case .error(let code): "\(code)"
    case .diverging(let epoch, let end): "diverging epoch=\(epoch) end=\(end)"
    case .snapshot(let end): "snapshot \(end)"
    case .read(let from): "read \(from)"
    }
}

func render(_ effect: RaftEffect) -> String {
    switch effect {
    case .save(let state):
        "save epoch=\(state.epoch) leader=\(name(state.leaderID)) voted=\(state.voted.map(name) ?? "-")"
    case .appendLeaderChange(let epoch, _, let granting):
        "appendLeaderChange epoch=\(epoch) granting=\(names(granting))"
    case .appendVoters(let voters, let epoch): "appendVoters \(names(voters)) epoch=\(epoch)"
    case .appendFetched: "appendFetched"
    case .truncate(let to): "truncate \(to)"
    case .flush: "flush"
    case .fetchSnapshot(let end, let from): "fetchSnapshot \(end) n\(from)"
    case .sendVote(let request, let to):
        "sendVote n\(to) \(request.preVote ? "pre " : "")of \(name(request.voter)) "
            + "epoch=\(request.epoch) log=\(request.logEnd)"
    case .sendBeginQuorumEpoch(let epoch, let to): "sendBeginQuorumEpoch \(name(to)) epoch=\(epoch)"
    case .sendEndQuorumEpoch(let epoch, let preferred, let to):
        "sendEndQuorumEpoch n\(to) epoch=\(epoch) preferred=\(names(preferred))"
    case .sendFetch(let fetch, let to): "sendFetch n\(to) \(render(fetch))"
    case .answerVote(let id, let response): "answerVote #\(id) \(render(response))"
    case .answerBeginQuorumEpoch(let id, let error, let epoch, let leader):
        "answerBeginQuorumEpoch #\(id) \(error) epoch=\(epoch) leader=\(name(leader))"
    case .answerEndQuorumEpoch(let id, let error, let epoch, let leader):
        "answerEndQuorumEpoch #\(id) \(error) epoch=\(epoch) leader=\(name(leader))"
    case .answerFetch(let id, let verdict, let highWatermark, let epoch, let leader):
        "answerFetch #\(id) \(render(verdict)) hw=\(highWatermark) epoch=\(epoch) leader=\(name(leader))"
    case .answerVoterChange(let id, let error): "answerVoterChange #\(id) \(error)"
    case .advanceHighWatermark(let to): "advanceHighWatermark \(to)"
    case .changeRole(let role, let epoch, let leader): "changeRole \(role) epoch=\(epoch) leader=\(name(leader))"
    }
}

extension Cluster {
    mutating func note(_ index: Int, _ input: RaftInput, _ effects: [RaftEffect]) {
        guard !effects.isEmpty || input != .ticked else { return }
        let millis = (now.nanoseconds - 1_000_000_000) / 1_000_000
        trace.append("\(millis) n\(index + 1) \(render(input))")
        for effect in effects { trace.append("    \(render(effect))") }
    }
}
