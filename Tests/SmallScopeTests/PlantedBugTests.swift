// Bugs planted around the machines are found within the small scope, each by the rule that it breaks.

import SmallScope
import Testing

@Suite struct PlantedBugTests {
    /// The first violation, as `martlet-sim explore --scope small --bug …` meets it.
    private static func quorum(_ bug: SmallScopeBug) -> SearchReport? {
        for bounds in QuorumBounds.all(.small) {
            var bounds = bounds
            bounds.bug = bug
            var search = Search(QuorumScope(bounds))
            let report = search.run()
            if report.violation != nil { return report }
        }
        return nil
    }

    private static func replicas(_ bug: SmallScopeBug) -> SearchReport? {
        for bounds in ReplicaBounds.all(.small) {
            var bounds = bounds
            bounds.bug = bug
            var search = Search(ReplicaScope(bounds))
            let report = search.run()
            if report.violation != nil { return report }
        }
        return nil
    }

    @Test func aForgottenVoteIsFound() {
        let report = Self.quorum(.voteForgotten)
        #expect(report?.violation?.contains("R1") == true)
        #expect(report?.path.contains { $0.contains("loses power") } == true)
    }

    @Test func aVoteToldBeforeItIsDurableIsFound() {
        #expect(Self.quorum(.savedEarly)?.violation?.hasPrefix("R2") == true)
    }

    @Test func aCommitOfWhatIsNotDurableIsFound() {
        #expect(Self.quorum(.flushedEarly)?.violation?.hasPrefix("R6") == true)
    }

    @Test func aLeaderThatCountsItsOwnEndIsFound() {
        #expect(Self.replicas(.ownEndCounted)?.violation?.hasPrefix("P6") == true)
    }

    @Test func aCutToTheHighWatermarkIsFound() {
        #expect(Self.replicas(.truncatedToHighWatermark)?.violation?.hasPrefix("P4") == true)
    }

    /// The whole small scope is `make test`'s, by `martlet-sim explore --scope small`; this is its beginning.
    @Test func withoutABugNothingIsFound() {
        for bounds in QuorumBounds.all(.small) {
            var search = Search(QuorumScope(bounds))
            #expect(search.run(statesMax: 5_000).violation == nil)
        }
        for bounds in ReplicaBounds.all(.small) {
            var search = Search(ReplicaScope(bounds))
            #expect(search.run(statesMax: 5_000).violation == nil)
        }
    }
}
