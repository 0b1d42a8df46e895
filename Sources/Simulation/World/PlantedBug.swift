// What the world itself does of a planted bug, and the faults that bring each one out soonest.

import DiskSimulation
import Model
import Storage

extension PlantedBug {
    /// Whether a barrier is reported done and never happens.
    func makesBarrierLie(_ ticket: FlushTicket) -> Bool {
        guard self != .none else { return false }
        let (number, own) = DiskView.unmarked(ticket)
        let machine = Machine(number: number)
        return switch self {
        case .dataFlushLies: machine != .control
        case .metadataFlushLies: machine == .control && own.owner == 1
        case .voteForgotten: machine == .control && own.owner == 2
        default: false
        }
    }

    /// Whether only a world with consumer groups can show it.
    package var isOfGroups: Bool {
        switch self {
        case .groupAnswersNotHeld, .offsetsShownEarly, .commitGenerationUnchecked, .commitTakenWhileCompleting,
            .refusedCommitKept, .loadedCountsAsCommitted, .loadsToHighWatermark, .coordinatorOutlivesItsTerm,
            .parkedSyncsForgotten, .replacedMemberNotWritten, .oldAssignmentKept, .silentMembersStay,
            .givenOnBeforeGivenUp, .revokingCountsAsFree, .commitEpochUnchecked, .groupDeletionNotWritten,
            .offsetDeletionNotWritten:
            true
        default: false
        }
    }

    /// Whether only a world with a compacted topic can show it.
    package var isOfCompaction: Bool {
        switch self {
        case .cleansAboveHighWatermark, .tombstoneGoesAtOnce, .tombstoneGoesByTimeAlone, .tombstoneTimedByEachCopy,
            .cleaningForgetsProducers, .cleanedSegmentNotFlushed:
            true
        default: false
        }
    }

    /// The faults to draw from when this bug is hunted: those that its harm needs, and no others that end most runs
    /// before.
    package var suitedFaults: [FaultKind] {
        switch self {
        case .voteForgotten, .voteForgottenAtRestart, .voteToldBeforeSaved, .standsInOldEpoch:
            [.crash, .crashInStep, .powerLossOfAll, .isolation, .oneWayCut]
        case .emptiedDiskVotes, .secondCluster: [.wipe, .isolation, .split, .crash]
        case .emptiedDiskTrusted: [.wipe, .crash, .powerLoss, .isolation]
        case .electionByEpochOnly, .commitsOldEpochByCount, .quorumIgnoresDivergence, .quorumTruncatesToHighWatermark:
            [.isolation, .split, .oneWayCut, .crash, .pause]
        case .truncatesToHighWatermark, .divergenceIgnored, .epochsNotTruncated, .dedupeNotRebuiltAfterTruncation,
            .joinsBelowEpochStart, .endShownBeforeEpochStart:
            [.isolation, .split, .oneWayCut, .crash, .pause, .slowDisk]
        case .truncationNotFlushed: [.isolation, .powerLoss, .powerLossOfAll]
        case .cleansAboveHighWatermark: [.isolation, .split, .oneWayCut, .crash, .pause]
        case .tombstoneGoesAtOnce: [.crash]
        case .tombstoneGoesByTimeAlone: [.crash, .pause, .isolation, .powerLoss]
        case .tombstoneTimedByEachCopy: [.crash, .stop, .isolation]
        case .cleaningForgetsProducers: [.crash, .isolation, .split]
        case .cleanedSegmentNotFlushed: [.powerLoss, .powerLossInStep, .powerLossOfAll]
        case .tornTailKept: [.powerLoss, .powerLossInStep, .powerLossOfAll, .slowDisk]
        case .damageCutOff: [.rot, .crash]
        case .lostEndForgotten: [.rot, .crash, .isolation, .powerLoss]
        case .flushFailureIgnored: [.flushError, .crash, .powerLoss]
        case .alterPartitionIgnoresBrokerEpoch: [.lateProposals]
        case .alterPartitionIgnoresPartitionEpoch: [.lateCopies]
        case .staleEpochAnswered: [.blindness]
        case .directoryNotFlushed, .rolledSegmentNotFlushed:
            [.powerLoss, .powerLossInStep, .powerLossOfAll]
        case .loadedCountsAsCommitted, .loadsToHighWatermark, .coordinatorOutlivesItsTerm:
            [.stop, .crash, .isolation, .oneWayCut, .split, .pause]
        case .refusedCommitKept: [.stop, .crash, .isolation, .pause]
        case .commitGenerationUnchecked, .commitTakenWhileCompleting, .parkedSyncsForgotten, .oldAssignmentKept,
            .silentMembersStay, .replacedMemberNotWritten, .givenOnBeforeGivenUp, .revokingCountsAsFree,
            .commitEpochUnchecked, .groupAnswersNotHeld, .offsetsShownEarly, .groupDeletionNotWritten,
            .offsetDeletionNotWritten:
            [.stop, .crash, .delaySpike, .connectionReset]
        case .fencedReplicaElected, .uncleanElection: [.crash, .powerLoss, .isolation, .pause]
        default: Swarm.defaultFaults
        }
    }
}
