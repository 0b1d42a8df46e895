// What the consumer does when nodes refuse, are late or go away, and when another leader holds another log.

import Model
import NIOCore
import Testing

import MartletClient

private let p0 = TopicPartition("t", 0)

private let lost = ClientError.connectionLost(Endpoint(host: "n", port: 1))

@Suite struct ConsumerMachineLeaderTests {
    @Test func pausesGrowBetweenRefusalsAndEndWithAnAnswer() throws {
        let bench = ConsumerBench()
        var next = try bench.fetch()
        for pauseMs: Int64 in [20, 40, 80, 80] {
            bench.refuse(next.id, .requestTimedOut)
            #expect(bench.drain(afterMs: pauseMs - 1).fetches.isEmpty)
            #expect(bench.wakeAt == bench.now.advanced(byMs: 1))
            next = try bench.fetch(afterMs: 1)
        }
        bench.give(next.id, at: 0)
        bench.refuse(try bench.fetch().id, .requestTimedOut)
        #expect(bench.drain(afterMs: 19).fetches.isEmpty)
        #expect(try bench.fetch(afterMs: 1).entries.map(\.offset) == [1])
        #expect(bench.tellFailures().isEmpty)
    }

    @Test func aNewerHintIsFollowedAtOnce() throws {
        let bench = ConsumerBench()
        let first = try bench.fetch()
        bench.refuse(first.id, .notLeaderOrFollower, hint: (2, 2))
        let effects = bench.drain()
        #expect(effects.fetches.map(\.node) == [2])
        #expect(effects.fetches.first?.entries.map(\.leaderEpoch) == [2])
        #expect(effects.metadata.isEmpty)
    }

    @Test func anOldHintIsNotFollowed() throws {
        let bench = ConsumerBench()
        let first = try bench.fetch()
        bench.refuse(first.id, .notLeaderOrFollower, hint: (2, 1))
        let effects = bench.drain(afterMs: 100)
        #expect(effects.fetches.isEmpty)
        #expect(effects.metadata == [["t"]])
        bench.leads(2, epoch: 2)
        #expect(try bench.fetch().node == 2)
    }

    @Test func olderMetadataChangesNothing() throws {
        let bench = ConsumerBench()
        bench.leads(2, epoch: 3)
        bench.leads(1, epoch: 2)
        let fetch = try bench.fetch()
        #expect(fetch.node == 2 && fetch.entries.map(\.leaderEpoch) == [3])
    }

    @Test func aLostRequestDoubtsTheLeaderAndTheOffsetStays() throws {
        let bench = ConsumerBench()
        bench.give(try bench.fetch().id, at: 0)
        let second = try bench.fetch()
        bench.machine.disconnected(1, at: bench.now)
        _ = bench.machine.lost(second.id, lost, at: bench.now)
        #expect(bench.drain().metadata == [["t"]])
        bench.leads(2, epoch: 1)
        // The same epoch and another node: nothing to compare.
        #expect(try bench.fetch().entries.map(\.offset) == [1])
    }

    @Test func aNodeThatCannotBeReachedIsTriedAgain() throws {
        let bench = ConsumerBench()
        bench.machine.disconnected(1, at: bench.now)
        #expect(bench.drain().connects.isEmpty)
        #expect(bench.drain(afterMs: 20).connects == [1])
        #expect(bench.drain().connects.isEmpty, "one attempt at a time")
        bench.machine.connected(1)
        #expect(try bench.fetch().node == 1)
    }

    @Test func whatCannotBeTriedAgainIsTold() throws {
        let bench = ConsumerBench()
        let error = ClientError.malformedAnswer("Fetch", Endpoint(host: "n", port: 1), reason: "short")
        let isNews = bench.machine.lost(try bench.fetch().id, error, at: bench.now)
        #expect(isNews)
        #expect(bench.tellFailures() == [error])
    }

    @Test func aLateAnswerAsksWhoLeadsAndLeavesAStandingNode() throws {
        let bench = ConsumerBench()
        let first = try bench.fetch()
        #expect(bench.drain(afterMs: 1_499).metadata.isEmpty)
        let late = bench.drain(afterMs: 1)
        #expect(late.metadata == [["t"]] && late.abandoned.isEmpty)
        bench.leads(1, epoch: 1)
        #expect(bench.drain().abandoned.isEmpty, "it leads still")
        #expect(bench.drain(afterMs: 100).metadata == [["t"]], "asked again as long as it owes")
        bench.leads(2, epoch: 2)
        #expect(bench.drain().abandoned == [1])
        _ = bench.machine.lost(first.id, lost, at: bench.now)
        _ = bench.drain()
        bench.leads(2, epoch: 2)
        #expect(bench.drain(afterMs: 20).fetches.map(\.node) == [2])
    }

    @Test func anotherLeaderBeforeTheAnswerIsLateWaitsForTheLateness() throws {
        let bench = ConsumerBench()
        _ = try bench.fetch()
        bench.leads(2, epoch: 2)
        #expect(bench.drain().abandoned.isEmpty, "the answer may be on its way")
        #expect(bench.drain(afterMs: 1_500).abandoned == [1])
    }

    @Test func patienceEndsWithTheLastError() throws {
        let bench = ConsumerBench { $0.patienceMs = 50 }
        bench.refuse(try bench.fetch().id, .requestTimedOut)
        bench.refuse(try bench.fetch(afterMs: 20).id, .requestTimedOut)
        #expect(bench.tellFailures().isEmpty)
        let third = try bench.fetch(afterMs: 40)
        #expect(bench.refuse(third.id, .requestTimedOut))
        let last = ClientError.refused(what: "read t-0 at offset 0", .requestTimedOut, message: nil).description
        #expect(bench.tellFailures() == [.gaveUp(what: "read t-0", afterMs: 60, last: last)])
    }

    @Test func patienceEndsWithoutALeaderToo() throws {
        let bench = ConsumerBench { $0.patienceMs = 50 }
        bench.leads(nil, epoch: 2)
        _ = bench.drain()
        _ = bench.drain(afterMs: 49)
        #expect(bench.tellFailures().isEmpty)
        _ = bench.drain(afterMs: 1)
        #expect(bench.tellFailures() == [.gaveUp(what: "read t-0", afterMs: 50, last: "it has no leader")])
    }

    // MARK: Replicas nearby

    @Test func aReplicaNearbyIsReadUntilItLags() throws {
        let bench = ConsumerBench()
        var answer = ConsumerMachine.FetchAnswer(highWatermark: 100)
        answer.preferredReplica = 2
        bench.fetched(try bench.fetch().id, [p0: answer])
        let nearby = try bench.fetch()
        #expect(nearby.node == 2)
        bench.give(nearby.id, at: 0)
        let again = try bench.fetch()
        #expect(again.node == 2)
        bench.refuse(again.id, .offsetOutOfRange)
        #expect(bench.tellFailures().isEmpty)
        let back = try bench.fetch()
        #expect(back.node == 1 && back.entries.map(\.offset) == [1])
        // The leader's word counts, after what was read before it.
        #expect(bench.refuse(back.id, .offsetOutOfRange))
        #expect(bench.tellFailures().isEmpty)
        #expect(bench.take() != nil)
        #expect(bench.tellFailures() == [.positionOutOfRange(topic: "t", 0, position: 1)])
    }

    @Test func aReplicaNearbyIsLeftWhenItsConnectionBreaks() throws {
        let bench = ConsumerBench()
        var answer = ConsumerMachine.FetchAnswer(highWatermark: 100)
        answer.preferredReplica = 2
        bench.fetched(try bench.fetch().id, [p0: answer])
        let nearby = try bench.fetch()
        bench.machine.disconnected(2, at: bench.now)
        _ = bench.machine.lost(nearby.id, lost, at: bench.now)
        bench.leads(1, epoch: 1)
        #expect(try bench.fetch(afterMs: 20).node == 1)
    }
}

/// A reader has got offsets 0 to 2, offsets 3 to 5 are fetched and not given out, and a leader of epoch 4 turns up.
private func benchWithANewLeader(
    _ policy: ConsumerConfiguration.TruncationPolicy
) throws -> (ConsumerBench, ConsumerMachine.Question) {
    let bench = ConsumerBench { $0.onTruncation = policy }
    bench.give(try bench.fetch().id, at: 0, ["a", "b", "c"])
    try bench.read()
    bench.give(try bench.fetch().id, at: 3, ["d", "e", "f"])
    bench.leads(2, epoch: 4)
    let effects = bench.drain()
    #expect(effects.fetches.isEmpty, "first it must be known whether the new leader holds what was read")
    return (bench, try #require(effects.compares.first))
}

@Suite struct ConsumerMachineTruncationTests {
    @Test func aNewLeaderIsAskedWhereTheEpochEnds() throws {
        let (bench, question) = try benchWithANewLeader(.fail)
        #expect(question.node == 2)
        #expect(question.entries.map(\.subject) == [1] && question.entries.map(\.leaderEpoch) == [4])
        #expect(!bench.compared(question.id, end: 6))
        #expect(try bench.fetch().entries.map(\.offset) == [6])
        #expect(try bench.read() == [3, 4, 5])
    }

    @Test func whatNobodyHasSeenIsReadAgain() throws {
        for policy in [ConsumerConfiguration.TruncationPolicy.fail, .resume] {
            let (bench, question) = try benchWithANewLeader(policy)
            #expect(!bench.compared(question.id, end: 4))
            #expect(bench.take() == nil, "offset 3 stands, 4 and 5 do not: both are fetched anew")
            let entry = try #require(try bench.fetch().entries.first)
            #expect(entry.offset == 3 && entry.lastEpoch == 1)
        }
    }

    @Test func whatWasGivenOutAndIsGoneIsTold() throws {
        let (bench, question) = try benchWithANewLeader(.fail)
        #expect(bench.compared(question.id, end: 2))
        #expect(bench.tellFailures() == [.logTruncated(topic: "t", 0, position: 3, divergedAt: 2)])
        #expect(bench.take() == nil)
        #expect(bench.drain(afterMs: 5_000).fetches.isEmpty)
        bench.machine.seek(p0, to: .offset(2))
        #expect(try bench.fetch().entries.map(\.offset) == [2])
    }

    @Test func resumeGoesOnWhereTheLogsPart() throws {
        let (bench, question) = try benchWithANewLeader(.resume)
        #expect(!bench.compared(question.id, end: 2))
        #expect(bench.tellFailures().isEmpty && bench.take() == nil)
        let entry = try #require(try bench.fetch().entries.first)
        #expect(entry.offset == 2 && entry.lastEpoch == 1)
        #expect(bench.known?.consumed == 2)
    }

    @Test func aLeaderThatLeadsNoMoreCannotVouch() throws {
        let (bench, question) = try benchWithANewLeader(.fail)
        bench.leads(1, epoch: 5)
        #expect(!bench.compared(question.id, end: 0))
        let effects = bench.drain()
        #expect(effects.compares.map(\.node) == [1] && effects.fetches.isEmpty)
        #expect(bench.tellFailures().isEmpty)
    }

    @Test func aRefusalToCompareIsTriedAgain() throws {
        let (bench, question) = try benchWithANewLeader(.fail)
        _ = bench.machine.compared(question.id, [p0: .init(code: .unknownLeaderEpoch)], at: bench.now)
        _ = bench.drain()
        bench.leads(2, epoch: 4)
        #expect(bench.drain(afterMs: 19).compares.isEmpty)
        #expect(bench.drain(afterMs: 1).compares.map(\.node) == [2])
    }

    @Test func aNodeThatCannotCompareIsRead() throws {
        let (bench, question) = try benchWithANewLeader(.fail)
        bench.machine.cannotCompare(question.id)
        #expect(try bench.fetch().entries.map(\.offset) == [6])
        #expect(bench.drain().compares.isEmpty)
        #expect(try bench.read() == [3, 4, 5])
    }

    @Test func aFetchAnswerTellsOfTheFork() throws {
        let bench = ConsumerBench()
        bench.give(try bench.fetch().id, at: 0, ["a", "b", "c"])
        try bench.read()
        bench.give(try bench.fetch().id, at: 3, ["d", "e", "f"])
        bench.diverge(try bench.fetch().id, at: 4, epoch: 1)
        #expect(bench.tellFailures().isEmpty)
        #expect(bench.take() == nil)
        let next = try bench.fetch()
        #expect(next.entries.map(\.offset) == [3])
        bench.diverge(next.id, at: 1, epoch: 1)
        #expect(bench.tellFailures() == [.logTruncated(topic: "t", 0, position: 3, divergedAt: 1)])
    }

    @Test func resumeFollowsTheForkOfAFetchAnswer() throws {
        let bench = ConsumerBench { $0.onTruncation = .resume }
        bench.give(try bench.fetch().id, at: 0, ["a", "b", "c"], epoch: 1)
        try bench.read()
        bench.diverge(try bench.fetch().id, at: 1, epoch: 1)
        let entry = try #require(try bench.fetch().entries.first)
        #expect(entry.offset == 1 && entry.lastEpoch == 1)
        #expect(bench.tellFailures().isEmpty)
    }

    /// The leader's log of an epoch below ours may be longer than what we read of it: ours parts where we read the next
    /// epoch.
    @Test func aLongerLogOfAnOlderEpochPartsWhereOurNextEpochBegan() throws {
        let bench = ConsumerBench()
        bench.give(try bench.fetch().id, at: 0, ["a", "b"], epoch: 0)
        bench.give(try bench.fetch().id, at: 2, ["c"], epoch: 1)
        try bench.read()
        bench.diverge(try bench.fetch().id, at: 9, epoch: 0)
        #expect(bench.tellFailures() == [.logTruncated(topic: "t", 0, position: 3, divergedAt: 2)])
    }

    @Test func whoHasReadNothingHasNothingToCompare() throws {
        let bench = ConsumerBench()
        bench.leads(2, epoch: 4)
        let effects = bench.drain()
        #expect(effects.compares.isEmpty && effects.fetches.map(\.node) == [2])
    }
}
