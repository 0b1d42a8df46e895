// One member of the metadata quorum as a value: KRaft's pull Raft (KIP-595, 853, 996), fed with inputs, answering with
// effects.

import Model

/// A voter or observer of the metadata quorum. It knows positions, never bytes; it reads no clock and draws from its
/// own seed.
///
/// How it keeps its word: `saved` is what it believes, `durable` what the disk confirmed. While the two differ in epoch
/// or vote, nothing leaves for a peer: answers wait in `deferredAnswers`, and requests are only drawn from the state in
/// `settle`, which asks `mayTalk` first.
package struct RaftNode: Hashable, Sendable {
    package let key: ReplicaKey
    package let settings: RaftSettings
    let bootstrap: [NodeID]

    // What it believes
    package internal(set) var role: RaftRole
    package internal(set) var log: LogPositions
    /// Everything below is committed. Never falls while the node runs.
    package internal(set) var highWatermark: Offset
    /// The voters in force: those of the newest Voters record in the log, committed or not (KIP-853).
    package internal(set) var voters: VoterSet
    var baseVoters: VoterSet
    var laterVoters: [VotersAt]
    var saved: QuorumState
    var durable: QuorumState
    var lastSave: QuorumState

    // Whom it follows
    /// The leader that it fetches from, as follower or observer.
    var followed: NodeID?
    /// The leader that it followed last, whatever became of it since.
    package internal(set) var lastLeader: LastLeader?
    /// Until then the leader counts as alive, by our last successful Fetch; nil before the first in this epoch.
    var leaderAliveUntil: Instant?
    /// The epoch whose leader is known to lead no more: proved dead, or it said so itself. An epoch never gets a second
    /// leader.
    var leaderlessEpoch: LeaderEpoch?
    /// Nodes proved dead and not heard of since; sorted.
    var deadPeers: [NodeID] = []
    /// As told by the leader at a moment when our whole log was a prefix of its own.
    var leaderHighWatermark: Offset?
    var fetches: [FetchInFlight] = []
    var fetchRetryAt: Instant?
    /// Which of the nodes that may know the leader is asked next.
    var searchIndex = 0

    // Disk work under way
    var pendingAppends: [PendingAppend] = []
    var pendingSnapshot: LogEnd?
    var isFlushing = false

    // Roles
    /// When patience ends, whatever the role waits for. Never for a leader.
    var electionDeadline: Instant
    var canvass: Canvass?
    var leading: Leading?
    var isStopping = false

    var deferredAnswers: [RaftEffect] = []
    var random: SeededRandom
    /// Last told to the node; nil before the first step.
    var announced: Announcement?
    let startedAt: Instant

    /// A leader, and when anything was heard from it last.
    package struct LastLeader: Hashable, Sendable {
        package var id: NodeID
        package var heardAt: Instant
    }

    struct Announcement: Hashable, Sendable {
        var role: RaftRole
        var epoch: LeaderEpoch
        var leaderID: NodeID?
    }

    /// - Parameters:
    ///   - voters: those of the snapshot, or of the formation when there is none yet.
    ///   - laterVoters: the Voters records found in the log, by rising offset.
    ///   - bootstrap: whom an observer asks for the leader besides the voters it knows.
    package init(
        key: ReplicaKey, settings: RaftSettings, saved: QuorumState, log: LogPositions, voters: VoterSet,
        laterVoters: [VotersAt], bootstrap: [NodeID], seed: UInt64, now: Instant
    ) {
        self.key = key
        self.settings = settings
        self.bootstrap = bootstrap
        self.log = log
        self.saved = saved
        (durable, lastSave) = (saved, saved)
        baseVoters = voters
        self.laterVoters = laterVoters
        self.voters = laterVoters.last?.voters ?? voters
        highWatermark = max(log.startOffset, log.snapshotEnd?.offset ?? 0)
        random = SeededRandom(seed: seed)
        startedAt = now
        role = .observer
        electionDeadline = .distantFuture
        // A log never holds an epoch that was not saved first; should the saved one be lost, at least no epoch comes
        // twice.
        if log.end.epoch > saved.epoch { self.saved = QuorumState(epoch: log.end.epoch) }
        // Mutant: a second vote in the same epoch (R2, R1).
        if settings.plantedBug == .voteForgottenAtRestart { self.saved = QuorumState(epoch: self.saved.epoch) }
        resumeRole(now)
    }

    // MARK: Face

    package var epoch: LeaderEpoch { saved.epoch }
    package var isLeader: Bool { leading != nil }
    /// The votes that a candidate counts so far, or that made this leader, its own among them; empty in other roles.
    package var countedVotes: [ReplicaKey] { leading?.granting ?? (role == .candidate ? canvass?.granted ?? [] : []) }
    package var isVoter: Bool { voters.contains(key) }
    /// Who leads this epoch as far as this node knows and believes it alive.
    package var leaderID: NodeID? { leading == nil ? followed : key.id }
    /// Where this leader's own epoch begins; nil for others, and until its LeaderChange is appended.
    package var epochStartOffset: Offset? { leading?.epochStartOffset }
    /// Whether this leader has committed a record of its own epoch: only then is its high watermark the newest (R4,
    /// R12).
    package var isHighWatermarkOfEpoch: Bool {
        guard let start = leading?.epochStartOffset else { return false }
        return highWatermark > start
    }

    /// Takes one input and appends what follows from it.
    package mutating func step(_ input: RaftInput, at now: Instant, into effects: inout [RaftEffect]) {
        switch input {
        case .ticked: ticked(now, &effects)
        case .saved(let state): saved(state)
        case .appended, .flushed, .snapshotInstalled, .logStartAdvanced: logChanged(input, now, &effects)
        case .voteRequested(let request, let id): voteRequested(request, id, now, &effects)
        case .beginQuorumEpochReceived(let leader, let epoch, let voter, let id):
            beginQuorumEpochReceived(leader, epoch, voter, id, now, &effects)
        case .endQuorumEpochReceived(let leader, let epoch, let preferred, let id):
            endQuorumEpochReceived(leader, epoch, preferred, id, now, &effects)
        case .fetchReceived(let fetch, let id): fetchReceived(fetch, id, now, &effects)
        case .fetchCancelled(let id): fetchCancelled(id)
        case .snapshotChunkFetched(let replica, let epoch): snapshotChunkFetched(replica, epoch, now)
        case .voteAnswered(let response, let from): voteAnswered(response, from, now, &effects)
        case .beginQuorumEpochAnswered(let from, let error, let epoch, let leaderID):
            beginQuorumEpochAnswered(from, error, epoch, leaderID, now, &effects)
        case .fetchAnswered(let answer): fetchAnswered(answer, now, &effects)
        case .requestFailed(let request, let to): requestFailed(request, to, now)
        case .peerDied(let id): peerDied(id, now)
        case .voterAdditionRequested(let voter, let id): voterAdditionRequested(voter, id, now, &effects)
        case .voterRemovalRequested(let key, let id): voterRemovalRequested(key, id, &effects)
        case .resignationRequested: resignationRequested(now, &effects)
        }
        settle(now, &effects)
    }

    /// When `.ticked` is wanted next; never in the past once the node has been stepped at that time.
    package var nextDeadline: Instant {
        guard announced != nil else { return startedAt }
        var next = electionDeadline
        if canFetch, let retry = fetchRetryAt { next = min(next, retry) }
        if mayTalk, let canvass { next = canvass.askAt.values.reduce(next, min) }
        if leading != nil { next = min(next, nextLeaderDeadline) }
        return next
    }

    // MARK: After every input

    /// Whether the disk holds the epoch and vote that any word to a peer would give away. The leader's name may follow
    /// later: it binds nobody.
    var mayTalk: Bool {
        // Mutant: a crash takes back what was told (R2).
        if settings.plantedBug == .voteToldBeforeSaved { return true }
        return durable.epoch == saved.epoch && durable.voted == saved.voted
    }

    private mutating func ticked(_ now: Instant, _ effects: inout [RaftEffect]) {
        if now >= electionDeadline { patienceEnded(now) }
        if leading != nil { leaderTicked(now, &effects) }
    }

    private mutating func saved(_ state: QuorumState) {
        durable = state
    }

    private mutating func logChanged(_ input: RaftInput, _ now: Instant, _ effects: inout [RaftEffect]) {
        switch input {
        case .appended(let end, let epochs, let voters): appended(end, epochs, voters, now, &effects)
        case .flushed(let through): flushed(through, now, &effects)
        case .snapshotInstalled(let end, let voters): snapshotInstalled(end, voters, now, &effects)
        case .logStartAdvanced(let offset): logStartAdvanced(offset)
        default: break
        }
    }

    /// Draws from the state what is due, now that the input is worked in.
    private mutating func settle(_ now: Instant, _ effects: inout [RaftEffect]) {
        countVotes(now, &effects)
        if log.flushedEnd < log.endOffset, !isFlushing {
            isFlushing = true
            effects.append(.flush)
        }
        if mayTalk {
            effects.append(contentsOf: deferredAnswers)
            deferredAnswers.removeAll()
            askForVotes(now, &effects)
            announceReign(now, &effects)
            fetchIfDue(now, &effects)
        }
        if saved != lastSave {
            lastSave = saved
            effects.append(.save(saved))
        }
        let current = Announcement(role: role, epoch: epoch, leaderID: leaderID)
        if current != announced {
            announced = current
            effects.append(.changeRole(role, epoch: epoch, leaderID: leaderID))
        }
    }

    /// Sends an answer to a peer, or keeps it until the disk has what it implies.
    mutating func answer(_ effect: RaftEffect, _ effects: inout [RaftEffect]) {
        if mayTalk { effects.append(effect) } else { deferredAnswers.append(effect) }
    }

    mutating func raiseHighWatermark(to offset: Offset, _ effects: inout [RaftEffect]) {
        guard offset > highWatermark else { return }
        highWatermark = offset
        effects.append(.advanceHighWatermark(to: offset))
    }

    /// A word from that node: it lives.
    mutating func heard(from id: NodeID, _ now: Instant) {
        deadPeers.removeAll { $0 == id }
        if lastLeader?.id == id { lastLeader?.heardAt = now }
    }
}
