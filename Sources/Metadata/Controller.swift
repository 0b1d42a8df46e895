// The controller: the metadata quorum's leader as a value. It decides by records, and sees its own decisions before
// they are committed.

import Model
import Wire

/// A broker's life as the controller knows it; not in the log, so a new controller begins afresh.
struct BrokerSession: Hashable, Sendable {
    /// When the broker is given up unless it is heard from.
    var deadline: Instant
    /// How far it had applied the metadata log, by its last heartbeat.
    var metadataOffset: Offset = -1
}

/// Proof that one incarnation of a node is gone.
package struct DeathProof: Hashable, Sendable {
    package var id: NodeID
    package var incarnationID: UUID128

    package init(id: NodeID, incarnationID: UUID128) {
        self.id = id
        self.incarnationID = incarnationID
    }
}

package struct Controller: Equatable, Sendable {
    /// Includes what was decided but is not committed yet.
    package internal(set) var image: MetadataImage
    package let settings: ControllerSettings
    var random: SeededRandom
    /// One for each unfenced broker, and for fenced ones that were heard from.
    var sessions = SortedMap<NodeID, BrokerSession>()
    /// Registrations that were proved dead. A late heartbeat of one must not bring it back; only registering does.
    var deadEpochs = SortedMap<NodeID, BrokerEpoch>()
    /// The batch end that every active broker must have applied before this one may stop.
    var shutdownOffsets = SortedMap<NodeID, Offset>()
    /// When a node's preferred leaderships are given back to it.
    var preferredDue = SortedMap<NodeID, Instant>()
    /// Proof that the node brought into office; its first tick fences them.
    var proofs: [DeathProof]
    /// Set until the first tick: a new controller acts at once.
    var firstTickDue: Instant?

    /// - Parameters:
    ///   - image: the fold of the log through its end, committed or not.
    ///   - seed: must differ from one term of office to the next.
    ///   - dead: what the node can prove; every other unfenced broker gets a fresh session.
    ///   - silent: the controller before this one, and since when it has been silent to this node. The majority that
    ///     elected this one did not hear from it either, so that time counts; of its session it keeps a part at least,
    ///     in which one that lives can say so.
    package init(
        image: MetadataImage, settings: ControllerSettings, seed: UInt64, now: Instant,
        dead: [(id: NodeID, incarnationID: UUID128)], silent: (id: NodeID, since: Instant)? = nil
    ) {
        self.image = image
        self.settings = settings
        // The offset is mixed in so that one node's terms draw different ids even for equal seeds (M2).
        random = SeededRandom(seed: seed ^ (UInt64(bitPattern: image.lastOffset) &* 0x9E37_79B9_7F4A_7C15))
        proofs = dead.map { DeathProof(id: $0.id, incarnationID: $0.incarnationID) }
        firstTickDue = now
        for broker in image.brokers.values where !broker.fenced {
            var deadline = now.advanced(byMs: settings.sessionTimeoutMs)
            if let silent, silent.id == broker.id {
                let part = now.advanced(byMs: settings.sessionTimeoutMs / 3)
                deadline = min(deadline, max(part, silent.since.advanced(byMs: settings.sessionTimeoutMs)))
            }
            sessions[broker.id] = BrokerSession(deadline: deadline)
            preferredDue[broker.id] = now.advanced(byMs: settings.preferredLeaderDelayMs)
            // The batch that began the shutdown is not remembered; whoever has all of the log has that too.
            if broker.inControlledShutdown { shutdownOffsets[broker.id] = image.lastOffset }
        }
    }

    /// When `ticked` has something to do, if nothing is heard before.
    package var nextDeadline: Instant {
        if let firstTickDue { return firstTickDue }
        var earliest = Instant.distantFuture
        for (id, session) in sessions where image.isUnfenced(id) { earliest = min(earliest, session.deadline) }
        for due in preferredDue.values { earliest = min(earliest, due) }
        return earliest
    }

    /// To be called at `nextDeadline` or later: fences who was not heard from and gives preferred leaderships back.
    package mutating func ticked(nextOffset: Offset, at now: Instant) -> [MetadataRecord] {
        var batch = MetadataBatch(firstOffset: nextOffset)
        var gone: [NodeID] = []
        if firstTickDue != nil {
            firstTickDue = nil
            if image.features.isEmpty { writeFeatures(&batch) }
            for proof in proofs {
                guard let broker = image.brokers[proof.id], broker.incarnationID == proof.incarnationID
                else { continue }
                deadEpochs[broker.id] = broker.epoch
                if !broker.fenced { gone.append(broker.id) }
            }
            proofs = []
        }
        for (id, session) in sessions where session.deadline <= now {
            if image.isUnfenced(id), !gone.contains(id) { gone.append(id) }
        }
        fence(gone.sorted(), &batch)
        givePreferredLeadershipsBack(&batch, at: now)
        return batch.records
    }

    /// `peerLost` with proof: the node fences this incarnation at once and elects others in the same batch.
    package mutating func brokerDied(
        _ id: NodeID, incarnationID: UUID128, nextOffset: Offset, at now: Instant
    ) -> [MetadataRecord] {
        guard let broker = image.brokers[id], broker.incarnationID == incarnationID else { return [] }
        var batch = MetadataBatch(firstOffset: nextOffset)
        deadEpochs[id] = broker.epoch
        if !broker.fenced { fence([id], &batch) }
        return batch.records
    }

    /// KIP-584: the log of a new cluster begins with its feature levels.
    private mutating func writeFeatures(_ batch: inout MetadataBatch) {
        for (name, level) in settings.bootstrapFeatures {
            var record = FeatureLevelRecord()
            record.name = name
            record.featureLevel = level
            write(.featureLevel(record), &batch)
        }
    }

    /// Adds a record to the batch and to the image in one step, so that what follows in the decision sees it.
    mutating func write(_ record: MetadataRecord, _ batch: inout MetadataBatch) {
        let offset = batch.nextOffset
        precondition(offset > image.lastOffset, "a decision is placed behind all that the image holds")
        image.apply(record, at: offset, changes: &batch.changes)
        batch.records.append(record)
    }

    func config(of topic: TopicImage) -> EffectiveTopicConfig {
        image.effectiveConfig(
            named: topic.name, replicationFactor: topic.replicationFactor, brokerDefaults: settings.brokerDefaults)
    }
}

/// A decision in the making.
struct MetadataBatch {
    let firstOffset: Offset
    var records: [MetadataRecord] = []
    var changes = ImageChanges()

    init(firstOffset: Offset) { self.firstOffset = firstOffset }

    var nextOffset: Offset { firstOffset + Offset(records.count) }
}
