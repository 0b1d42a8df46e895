// How long a quorum member waits for what. All in milliseconds; a test scales them together.

import Model

package struct RaftSettings: Hashable, Sendable {
    /// Kafka's `quorum.election.timeout.ms`: a round of votes takes this long and up to as much again, at random.
    package var electionTimeoutMs: Int64
    /// Kafka's `quorum.fetch.timeout.ms`: a follower that could not fetch for so long asks for pre-votes; a leader that
    /// no majority fetched from for one and a half times as long resigns.
    package var fetchTimeoutMs: Int64
    /// How long a leader may hold a Fetch that finds nothing new.
    package var fetchMaxWaitMs: Int64
    /// Kafka's `quorum.request.timeout.ms`: the shell reports `.requestFailed` when a peer was silent for so long.
    package var requestTimeoutMs: Int64
    /// Kafka's `quorum.retry.backoff.ms`: the pause before a failed request is sent again.
    package var retryBackoffMs: Int64
    /// With proof that the leader is gone, the voters stand one after the other, so far apart.
    package var deathRankDelayMs: Int64
    /// Kafka's `quorum.election.backoff.max.ms`: after a lost round the next begins within this time, at random.
    package var electionBackoffMaxMs: Int64
    /// A leader forgets an observer that has not fetched for so long.
    package var observerForgottenMs: Int64
    /// For the simulator alone.
    package var plantedBug: PlantedBug

    package init(
        electionTimeoutMs: Int64 = 1_000, fetchTimeoutMs: Int64 = 1_000, fetchMaxWaitMs: Int64 = 500,
        requestTimeoutMs: Int64 = 1_000, retryBackoffMs: Int64 = 20, deathRankDelayMs: Int64 = 15,
        electionBackoffMaxMs: Int64 = 1_000, observerForgottenMs: Int64 = 300_000, plantedBug: PlantedBug = .none
    ) {
        self.electionTimeoutMs = electionTimeoutMs
        self.fetchTimeoutMs = fetchTimeoutMs
        self.fetchMaxWaitMs = fetchMaxWaitMs
        self.requestTimeoutMs = requestTimeoutMs
        self.retryBackoffMs = retryBackoffMs
        self.deathRankDelayMs = deathRankDelayMs
        self.electionBackoffMaxMs = electionBackoffMaxMs
        self.observerForgottenMs = observerForgottenMs
        self.plantedBug = plantedBug
    }

    /// Kafka's factor for the leader's own check of its quorum: it outlasts a follower's patience.
    var checkQuorumMs: Int64 { fetchTimeoutMs * 3 / 2 }

    /// Observers that a leader remembers at most; further ones are served and not remembered.
    static let observersMax = 1_000
}
