// What a quorum member remembers besides its epoch and log: a round of votes, a reign, requests on their way.

import Model

/// How far one replica is, as its Fetches told this leader.
package struct ReplicaProgress: Hashable, Sendable {
    package let key: ReplicaKey
    /// Everything below is durable there. Nil: it has not fetched in this epoch.
    package var fetchedOffset: Offset?
    package var lastFetch: Instant?
    /// When it last held everything that the leader held (Kafka's LastCaughtUpTimestamp).
    package var lastCaughtUp: Instant?
    /// The high watermark it knew when it fetched: what it has applied, it has applied up to here.
    package var knownHighWatermark: Offset
    /// The leader's end when it last fetched: reaching it later counts as having been caught up then.
    var endAtLastFetch: Offset
    /// When it last gave a sign of following: its Fetch, or a chunk of a snapshot.
    var lastContact: Instant

    init(key: ReplicaKey, at now: Instant) {
        self.key = key
        knownHighWatermark = 0
        endAtLastFetch = .max
        lastContact = now
    }
}

/// A round of pre-votes or votes.
struct Canvass: Hashable, Sendable {
    var preVote: Bool
    /// Sorted, myself among them.
    var granted: [ReplicaKey]
    var refused: [ReplicaKey] = []
    /// Whom to ask, and when: absent once asked.
    var askAt: SortedMap<NodeID, Instant>
}

/// A leader's reign over one epoch.
struct Leading: Hashable, Sendable {
    /// Where this epoch's LeaderChange lies; nil until it is appended.
    var epochStartOffset: Offset?
    var replicas = SortedMap<ReplicaKey, ReplicaProgress>()
    var parked = SortedMap<ReplicaKey, ParkedFetch>()
    /// When each other voter is told of this reign next.
    var beginAt = SortedMap<NodeID, Instant>()
    var voterChange: VoterChange?
    /// Who voted for it.
    var granting: [ReplicaKey] = []
}

struct ParkedFetch: Hashable, Sendable {
    var request: RequestID
    var fetchOffset: Offset
    var knownHighWatermark: Offset
    var deadline: Instant
}

struct VoterChange: Hashable, Sendable {
    var request: RequestID
    /// Where its Voters record lies; nil until it is appended.
    var offset: Offset?
}

/// A Fetch of ours that the shell has not resolved yet.
struct FetchInFlight: Hashable, Sendable {
    var to: NodeID
    var epoch: LeaderEpoch
    var logEnd: LogEnd
}

enum PendingAppend: Hashable, Sendable {
    case leaderChange(LeaderEpoch)
    case voters
    case fetched
}
