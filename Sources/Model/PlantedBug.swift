// Bugs that can be put in on purpose, to prove that the simulator's checkers see them (reliability.md §6.7). A running
// node never has one: `.none` is the default everywhere, and only the simulation passes anything else.

/// Each case is one wrong decision, guarded at the place where the right one is made. In brackets: the invariants that
/// are there to catch it.
public enum PlantedBug: String, CaseIterable, Sendable {
    case none

    // MARK: The disk below (Simulation)

    /// Barriers of data logs are reported done and never happen [S1, P6].
    case dataFlushLies
    /// Barriers of the metadata log are reported done and never happen [S1, R6].
    case metadataFlushLies
    /// The vote is reported saved and never is [R5, R2].
    case voteForgotten

    // MARK: The metadata quorum (Raft, Broker)

    /// Answers and requests leave before epoch and vote are durable [R2].
    case voteToldBeforeSaved
    /// A restart forgets the vote of its epoch [R2, R1].
    case voteForgottenAtRestart
    /// A candidate stands in the epoch that it is in [R1, R2].
    case standsInOldEpoch
    /// An emptied disk answers in the name of the one before it [R5].
    case emptiedDiskVotes
    /// A candidate's last epoch is compared, and its length is not [R4].
    case electionByEpochOnly
    /// A leader commits what earlier epochs wrote by counting replicas [R4].
    case commitsOldEpochByCount
    /// A leader counts its own end, flushed or not [R6].
    case quorumLeaderCountsUnflushed
    /// A follower's Fetch vouches for what it has not flushed [R6].
    case quorumFollowerClaimsUnflushed
    /// A follower takes the leader's high watermark for its own [R8, R3].
    case quorumFollowerCommitsUnclamped
    /// A leader does not see that a follower's log left its own [R3].
    case quorumIgnoresDivergence
    /// A follower whose log diverged cuts down to its high watermark [R6, R4].
    case quorumTruncatesToHighWatermark
    /// A metadata snapshot holds what is decided and not committed [M1].
    case snapshotOfUncommitted
    /// CreateTopics is answered before it is committed [M3].
    case topicAnsweredBeforeCommit
    /// An emptied node takes members of a cluster for unformed ones, and founds another [R5].
    case secondCluster

    // MARK: The controller (Metadata)

    /// A replaced disk counts as the one before it [P4].
    case emptiedDiskTrusted
    /// A replica that is not in service is elected [P9].
    case fencedReplicaElected
    /// Any replica is elected when nobody who holds all can be [P4, P3].
    case uncleanElection
    /// AlterPartition takes in an incarnation that is gone [M5].
    case alterPartitionIgnoresBrokerEpoch
    /// AlterPartition is applied to a state that it does not start from [M5].
    case alterPartitionIgnoresPartitionEpoch
    /// A block of producer ids is given and not written down [I3].
    case producerIDsGivenTwice

    // MARK: A partition's replicas (Replication, Broker)

    /// The leader counts its own end, flushed or not [P6].
    case leaderCountsUnflushed
    /// A follower's Fetch vouches for what it has not flushed [P6].
    case followerClaimsUnflushed
    /// The high watermark waits for the committed ISR, not for those about to join [P6].
    case highWatermarkOfCommittedISR
    /// The high watermark moves while fewer than `min.insync.replicas` are in sync [P13].
    case minISRNotChecked
    /// A follower joins the ISR at a new leader's low high watermark [P9].
    case joinsBelowEpochStart
    /// A restarted leader goes on under the epoch of the incarnation before [P10].
    case restartedLeaderKeepsEpoch
    /// A Fetch of an earlier epoch is answered and counted [P6].
    case staleEpochAnswered
    /// A follower cuts to its high watermark when the leader changes (before KIP-101) [P4, P2].
    case truncatesToHighWatermark
    /// A leader does not see that a follower's log left its own [P2].
    case divergenceIgnored
    /// A follower takes the leader's high watermark for its own [P8].
    case followerHighWatermarkUnclamped
    /// A new leader shows its high watermark before it has caught up with its predecessor's [P8].
    case endShownBeforeEpochStart
    /// A copy whose damage reaches to the end of its file may lead when that is repaired, though others of ISR or ELR
    /// may have more [P4].
    case lostEndForgotten
    /// Consumers read to the end of the log [P7].
    case consumersReadToLogEnd
    /// News that no parked Fetch waits for do not take their partition into the next answer [N1].
    case newsNotNoted
    /// That records were brought into memory is not heard of [L2, L4].
    case broughtInNotTold
    /// A new fetch position does not take its partition into the next request [N1].
    case positionNotNoted
    /// Of many partitions that come at once only the first are opened [L2].
    case unopenedForgotten

    // MARK: Produce (Broker)

    /// acks=all is answered as soon as the batch is in the leader's page cache [P6].
    case acknowledgedBeforeFlush
    /// The answer to a duplicate does not wait for the original's commit [P6].
    case duplicateAcknowledgedEarly
    /// A duplicate is appended again [I2, I1].
    case duplicateAppended
    /// A producer that is not known may begin at any sequence at once, as in Kafka [I1].
    case unknownProducerTakenAtOnce
    /// A restart forgets the producers' sequences [I3].
    case dedupeLostAtRestart
    /// A truncation leaves the producers' sequences as they were [I3].
    case dedupeNotRebuiltAfterTruncation

    // MARK: Consumer groups (Groups, Broker)

    /// A coordinator's answers leave before the records that they tell of are committed [G2, G1].
    case groupAnswersNotHeld
    /// Offsets are shown before they are committed [G2].
    case offsetsShownEarly
    /// A commit of any generation is taken [G2].
    case commitGenerationUnchecked
    /// A member commits in a generation whose assignment is still awaited [G2].
    case commitTakenWhileCompleting
    /// A commit that could not be written is kept in memory [G2].
    case refusedCommitKept
    /// A new coordinator counts all that it loaded as committed [G2, G1].
    case loadedCountsAsCommitted
    /// A new coordinator loads up to its high watermark only, which lags behind what is committed [G2].
    case loadsToHighWatermark
    /// A coordinator goes on after its term, with the groups that it knew [G2, L4].
    case coordinatorOutlivesItsTerm
    /// Members that wait for the leader's assignment are never answered [L4].
    case parkedSyncsForgotten
    /// The new id of a static member is not written down [G1, G2].
    case replacedMemberNotWritten
    /// A member keeps what it had when it is given something else [G1].
    case oldAssignmentKept
    /// Members of the classic protocol that fall silent stay members [L4].
    case silentMembersStay
    /// A consumer's partitions are given on before it has given them up (KIP-848) [G1].
    case givenOnBeforeGivenUp
    /// What a consumer is about to give up counts as free (KIP-848) [G1].
    case revokingCountsAsFree
    /// A consumer commits in any epoch that was (KIP-848) [G2].
    case commitEpochUnchecked
    /// A group that is deleted is forgotten, and its log says nothing of that [G2].
    case groupDeletionNotWritten
    /// So are offsets that are deleted [G2].
    case offsetDeletionNotWritten

    // MARK: Compaction (Storage, Broker)

    /// A cleaning counts newer records that are not committed [C1].
    case cleansAboveHighWatermark
    /// A tombstone goes with the first cleaning that meets it [C1].
    case tombstoneGoesAtOnce
    /// A tombstone goes when its time has come, whether or not all copies have dropped what it covers [C1].
    case tombstoneGoesByTimeAlone
    /// A tombstone goes a time after its own copy was cleaned, however late the last other one was [C1].
    case tombstoneTimedByEachCopy
    /// A cleaning drops the batches by which duplicates are told [I3].
    case cleaningForgetsProducers
    /// A cleaned segment is swapped in before it is durable [S1, C1].
    case cleanedSegmentNotFlushed

    // MARK: Storage

    /// A truncation is not made durable [S7].
    case truncationNotFlushed
    /// A new segment's name is not made durable [S1].
    case directoryNotFlushed
    /// A barrier covers the newest segment only [S1].
    case rolledSegmentNotFlushed
    /// A truncation leaves the epoch history as it was [P10].
    case epochsNotTruncated
    /// Recovery takes a torn tail for a batch [S2].
    case tornTailKept
    /// Recovery cuts damage below the recovery point off, as if it were a torn tail [S5].
    case damageCutOff
    /// A failed barrier counts as done [S6, S1].
    case flushFailureIgnored
}
