// What one seed's world is like: each seed draws its own mix, because leaving faults out finds other bugs than putting
// all in.

import Model

package struct Swarm: Hashable, Sendable, Codable {
    var nodes: Int32
    var replicationFactor: Int32
    var partitions: Int32
    var hasAsyncTopic: Bool
    var idempotentProducers: Int
    var plainProducers: Int
    var consumers: Int
    /// Topics that are made and deleted under load.
    var passingTopics: Int
    /// How often a topic is given one more partition.
    var growth: Int32
    /// Mean pause of a producer between two batches.
    var thinkMs: Int64
    var faults: [FaultKind]
    var faultIntervalMs: Int64
    /// How long faults go on.
    var faultPhaseMs: Int64
    var delayMicroseconds: ClosedRange<Int64>
    var barrierMicroseconds: ClosedRange<Int64>
    /// Bytes of a data segment; small ones roll often.
    var segmentBytes: Int64
    var metadataSegmentBytes: Int64
    var metadataSnapshotBytes: Int64
    /// Whether records are deleted by an admin client, and the size that retention leaves of a log; −1: any.
    var deletesRecords: Bool
    var retentionBytes: Int64
    /// Short ones let leaders put members out that no controller misses.
    var replicaLagTimeMaxMs: Int64
    /// Whether healed connections deliver what was held, or break.
    var healsByReset: Bool
    /// The shards of each node, at most, and whether every start draws how many it has.
    var shards: Int
    var changesShards: Bool

    /// The consumer groups, by how their members join; with how many members each, and on how many partitions of
    /// `__consumer_offsets`.
    var groups: [GroupKind]
    var groupMembers: Int
    var groupLogPartitions: Int32

    /// Of so many reads one finds that its bytes are not in memory; 0: none does.
    var coldOneIn: Int64

    /// Whether idempotent producers begin new epochs now and then.
    var bumpsEpochs: Bool

    /// Whether there is a compacted topic, whether its tombstones stay for ever, and how much of it must be new for a
    /// cleaning, in hundredths.
    var compacts: Bool
    var keepsTombstones: Bool
    var dirtyHundredths: Int64
    /// The node whose cleaner is held back in every other life, so that its copies keep what the others drop; 0: none.
    var heldCleaner: NodeID
    /// How long tombstones stay that do not stay for ever.
    var tombstonesStayMs: Int64

    /// Clocks jump, so a tombstone's time has come at once or never; where it is to be told, they all go right.
    var hasRightClocks: Bool { compacts && !keepsTombstones && tombstonesStayMs > 0 }

    /// The settings of the compacted topic.
    var compaction: [(String, String)] {
        [
            ("cleanup.policy", "compact"),
            ("delete.retention.ms", String(keepsTombstones ? Int64.max : tombstonesStayMs)),
            (
                "min.cleanable.dirty.ratio",
                "0.\(dirtyHundredths < 10 ? "0" : "")\(dirtyHundredths)"
            ),
        ]
    }

    /// Faults that a seed may draw. The others join by `allowing` only.
    package static let defaultFaults = FaultKind.allCases.filter { !$0.isRare }

    /// The plainest: what a case does not name.
    package static let plain: Swarm = {
        var swarm = Swarm(seed: 0, allowing: [])
        swarm.nodes = 3
        swarm.replicationFactor = 3
        swarm.passingTopics = 0
        swarm.growth = 0
        swarm.partitions = 1
        swarm.hasAsyncTopic = false
        swarm.idempotentProducers = 1
        swarm.plainProducers = 0
        swarm.consumers = 1
        swarm.thinkMs = 30
        swarm.faultIntervalMs = 500
        swarm.faultPhaseMs = 5_000
        swarm.delayMicroseconds = 30...600
        swarm.barrierMicroseconds = 80...2_500
        swarm.segmentBytes = 1 << 30
        swarm.metadataSegmentBytes = 64 << 20
        swarm.metadataSnapshotBytes = 20 << 20
        swarm.replicaLagTimeMaxMs = 10_000
        swarm.healsByReset = false
        swarm.bumpsEpochs = false
        swarm.coldOneIn = 0
        (swarm.compacts, swarm.keepsTombstones, swarm.dirtyHundredths) = (false, false, 50)
        (swarm.heldCleaner, swarm.tombstonesStayMs) = (0, 0)
        swarm.shards = 1
        swarm.changesShards = false
        swarm.groups = []
        swarm.groupMembers = 2
        swarm.groupLogPartitions = 1
        return swarm
    }()

    package init(
        seed: UInt64, allowing allowed: [FaultKind] = Swarm.defaultFaults, allowsAsyncPowerLoss: Bool = true
    ) {
        var random = SeededRandom(seed: seed ^ 0x53_5741_524D)
        // Half of the worlds have three nodes; in the others a partition may be on three of five.
        nodes = [3, 3, 4, 5][Int(random.below(4))]
        replicationFactor = random.oneIn(2) ? 3 : nodes
        partitions = Int32(1 + random.below(3))
        passingTopics = [0, 0, 1, 3][Int(random.below(4))]
        growth = Int32([0, 0, 1, 2][Int(random.below(4))])
        hasAsyncTopic = random.oneIn(4)
        idempotentProducers = 1 + Int(random.below(2))
        plainProducers = Int(random.below(3))
        consumers = 1 + Int(random.below(2))
        thinkMs = 5 + random.below(60)
        // One seed in eight is a quiet one; of the others some know one kind of fault, most a few.
        let share = random.below(8)
        faults = []
        for kind in allowed where kind != .rot && kind != .wipe {
            let isIn = random.oneIn(share < 3 ? 6 : 2)
            if share > 0, isIn { faults.append(kind) }
        }
        faultIntervalMs = [60, 200, 500, 1_500][Int(random.below(4))]
        faultPhaseMs = 4_000 + random.below(8_000)
        // An asynchronous log that lost its beginning with the power halts its node: see the list of bugs, number 3.
        let losesPower = faults.contains(where: \.losesPower)
        if losesPower, !allowsAsyncPowerLoss { hasAsyncTopic = false }
        let slow = random.oneIn(4)
        delayMicroseconds = slow ? 200...8_000 : 30...600
        barrierMicroseconds = random.oneIn(4) ? 500...40_000 : 80...2_500
        segmentBytes = random.oneIn(3) ? 600 + random.below(4_000) : 1 << 30
        metadataSegmentBytes = random.oneIn(4) ? 2_000 + random.below(8_000) : 64 << 20
        metadataSnapshotBytes = random.oneIn(4) ? 3_000 + random.below(20_000) : 20 << 20
        healsByReset = random.oneIn(2)
        var reads = SeededRandom(seed: seed ^ 0x52_4541_4453)
        coldOneIn = reads.oneIn(3) ? 1 + reads.below(6) : 0
        var deletions = SeededRandom(seed: seed ^ 0x44_454C_4554)
        deletesRecords = deletions.oneIn(3)
        let isSmall = segmentBytes < 1 << 30
        retentionBytes = isSmall && deletions.oneIn(3) ? segmentBytes * (1 + deletions.below(4)) : -1
        var lags = SeededRandom(seed: seed ^ 0x4C_4147)
        replicaLagTimeMaxMs = lags.oneIn(4) ? 600 + lags.below(800) : 10_000
        var division = SeededRandom(seed: seed ^ 0x53_4841_5244)
        shards = division.oneIn(3) ? 2 : 1
        changesShards = shards > 1 && division.oneIn(2)
        var rots = SeededRandom(seed: seed ^ 0x52_4F54)
        if share > 0, allowed.contains(.rot), allowed.count == 1 || rots.oneIn(4) { faults.append(.rot) }
        var wipes = SeededRandom(seed: seed ^ 0x57_4950_45)
        let isChosen = allowed.count < Self.defaultFaults.count
        if share > 0, allowed.contains(.wipe), wipes.oneIn(isChosen ? 2 : 6) { faults.append(.wipe) }
        // An emptied disk and an unclean end may leave no copy of an async partition that may be elected without a word
        // of the operator's.
        if faults.contains(.wipe) { hasAsyncTopic = false }
        var epochs = SeededRandom(seed: seed ^ 0x45_504F_4348)
        bumpsEpochs = epochs.oneIn(3)
        var cleanings = SeededRandom(seed: seed ^ 0x434C_4541_4E)
        compacts = isSmall && cleanings.oneIn(2)
        keepsTombstones = cleanings.oneIn(3)
        dirtyHundredths = 5 + cleanings.below(50)
        heldCleaner = cleanings.oneIn(4) ? NodeID(1 + cleanings.below(Int64(nodes))) : 0
        tombstonesStayMs = cleanings.oneIn(3) ? 300 + cleanings.below(2_500) : 0
        (groups, groupMembers, groupLogPartitions) = ([], 2, 1)
        if hasRightClocks { faults.removeAll { $0 == .clockJump || $0 == .clockDrift } }
        drawGroups(seed, isSure: false)
    }

    private mutating func drawGroups(_ seed: UInt64, isSure: Bool) {
        var random = SeededRandom(seed: seed ^ 0x47_524F_5550)
        let hasGroups = random.oneIn(4)
        let count = 1 + Int(random.below(2))
        let kinds = (0..<count).map { _ in GroupKind.allCases[Int(random.below(Int64(GroupKind.allCases.count)))] }
        groupMembers = 1 + Int(random.below(4))
        groupLogPartitions = [1, 1, 2, 3][Int(random.below(4))]
        if hasGroups || isSure { groups = kinds }
    }

    /// The same world, with consumer groups in any case.
    package func withGroups(_ seed: UInt64) -> Swarm {
        var swarm = self
        swarm.drawGroups(seed, isSure: true)
        return swarm
    }

    /// The same world, with a compacted topic in any case, and with segments that roll for it.
    package func withCompaction(_ seed: UInt64) -> Swarm {
        var swarm = self
        swarm.compacts = true
        if swarm.hasRightClocks { swarm.faults.removeAll { $0 == .clockJump || $0 == .clockDrift } }
        guard segmentBytes >= 1 << 30 else { return swarm }
        var random = SeededRandom(seed: seed ^ 0x434F_4D50_4143_54)
        swarm.segmentBytes = 600 + random.below(4_000)
        return swarm
    }

    /// The same world, with so many shards on each node.
    package func divided(into shards: Int) -> Swarm {
        var swarm = self
        swarm.shards = shards
        swarm.changesShards = false
        return swarm
    }

    package static var shardsMax: Int { Machine.shardsMax }

    package var description: String {
        "\(nodes) nodes, \(partitions) partitions of \(replicationFactor) replicas\(hasAsyncTopic ? " + async" : ""), "
            + "\(idempotentProducers)+\(plainProducers) producers, \(consumers) consumers, "
            + (passingTopics > 0 ? "\(passingTopics) passing topics, " : "")
            + (growth > 0 ? "growth \(growth), " : "")
            + (compacts ? "compaction\(keepsTombstones ? " that keeps tombstones" : "")" : "")
            + (hasRightClocks ? " that keeps them for \(tombstonesStayMs) ms" : "")
            + (compacts && heldCleaner > 0 ? " held back on node \(heldCleaner)" : "") + (compacts ? ", " : "")
            + (deletesRecords ? "deletions, " : "")
            + (coldOneIn > 0 ? "1 read in \(coldOneIn) cold, " : "")
            + (retentionBytes < 0 ? "" : "\(retentionBytes) bytes kept, ")
            + (shards > 1 ? "\(shards) shards\(changesShards ? " or fewer" : ""), " : "")
            + (groups.isEmpty
                ? ""
                : "groups \(groups.map(\.rawValue).joined(separator: " ")) of \(groupMembers) members on "
                    + "\(groupLogPartitions) partitions, ")
            + (replicaLagTimeMaxMs < 10_000 ? "\(replicaLagTimeMaxMs) ms of lag, " : "")
            + "faults every \(faultIntervalMs) ms for \(faultPhaseMs) ms: "
            + (faults.isEmpty ? "none" : faults.map(\.rawValue).joined(separator: " "))
    }
}
