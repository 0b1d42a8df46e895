// Whole quorums under faults: nothing committed is lost, nobody leads twice, and once healed they go on.

import Foundation
import Model
import Raft
import Testing

struct ClusterTests {
    /// Runs one seed through faults and healing and returns what went wrong.
    static func run(seed: UInt64, trace: Bool = false) -> Cluster {
        var draw = SeededRandom(seed: seed ^ 0x5eed)
        let count = 3 + Int(draw.below(3))
        var cluster = Cluster(nodes: count, voters: draw.oneIn(2) ? 3 : count, seed: seed)
        cluster.keepsTrace = trace
        cluster.lossOneIn = draw.oneIn(2) ? 0 : 20 + draw.below(200)
        cluster.delayMaxMs = [1, 5, 30][Int(draw.below(3))]
        cluster.provesDeath = !draw.oneIn(3)
        cluster.takesSnapshots = draw.oneIn(2)
        cluster.changesVoters = draw.oneIn(2)
        cluster.run(until: cluster.now.advanced(byMs: 4_000), faults: true)
        if draw.oneIn(2), cluster.checker.failures.isEmpty { wipeOne(&cluster) }
        settle(&cluster)
        return cluster
    }

    /// One voter loses its disk while the others stand: the controller removes it and takes it in again.
    static func wipeOne(_ cluster: inout Cluster) {
        cluster.heal()
        for index in cluster.nodes.indices { cluster.crash(index, power: false) }
        for index in cluster.nodes.indices { cluster.start(index) }
        cluster.run(until: cluster.now.advanced(byMs: 4_000))
        cluster.wipe(Int(cluster.random.below(Int64(cluster.nodes.count))))
        cluster.run(until: cluster.now.advanced(byMs: 2_000))
    }

    /// Heals everything, waits, and demands one leader that all follow and a committed log.
    static func settle(_ cluster: inout Cluster) {
        guard cluster.checker.failures.isEmpty else { return }
        cluster.heal()
        cluster.lossOneIn = 0
        for index in cluster.nodes.indices { cluster.crash(index, power: index % 2 == 0) }
        for index in cluster.nodes.indices { cluster.start(index) }
        cluster.changesVoters = false
        cluster.run(until: cluster.now.advanced(byMs: 6_000))
        let committed = cluster.checker.committed.count
        cluster.run(until: cluster.now.advanced(byMs: 1_000))
        guard cluster.checker.failures.isEmpty else { return }
        let leaders = cluster.nodes.compactMap { $0.raft?.leaderID }
        cluster.checker.expect(
            leaders.count == cluster.nodes.count && leaders.allSatisfy { $0 == leaders[0] },
            "L1: no common leader after healing: "
                + "\(cluster.nodes.map { "\($0.raft?.role as Any) \($0.raft?.epoch as Any)" })"
        )
        cluster.checker.expect(cluster.checker.committed.count > committed, "L2: nothing is committed after healing")
        for node in cluster.nodes {
            cluster.checker.expect(
                (node.raft?.highWatermark ?? 0) >= Offset(committed), "L3: \(node.key.id) did not catch up")
        }
    }

    /// `RAFT_SEEDS=first-last` runs other seeds; `RAFT_SEEDS=n` prints what led to the failure of one.
    static let seeds: ClosedRange<UInt64> = {
        let named = (ProcessInfo.processInfo.environment["RAFT_SEEDS"] ?? "").split(separator: "-").compactMap {
            UInt64($0)
        }
        guard let first = named.first, let last = named.last, first <= last else { return 0...199 }
        return first...last
    }()

    @Test func quorumsSurviveFaultsAndGoOnWhenHealed() {
        if Self.seeds.count == 1 {
            let cluster = Self.run(seed: Self.seeds.lowerBound, trace: true)
            print(cluster.trace.suffix(120).joined(separator: "\n"))
            #expect(cluster.checker.failures.isEmpty, "\(cluster.checker.failures.prefix(3))")
            return
        }
        var (elections, truncations, snapshots) = (0, 0, 0)
        for seed in Self.seeds {
            let cluster = Self.run(seed: seed)
            #expect(cluster.checker.failures.isEmpty, "seed \(seed): \(cluster.checker.failures.prefix(3))")
            elections += cluster.checker.electionCount
            truncations += cluster.checker.truncationCount
            snapshots += cluster.checker.snapshotCount
        }
        // The hard states must be reached, or the runs prove nothing.
        #expect(elections > Self.seeds.count && truncations > 0 && snapshots > 0)
    }

    @Test func oneSeedGivesOneHistory() {
        let runs = (0..<2).map { _ in Self.run(seed: 7, trace: true).trace }
        #expect(runs[0] == runs[1])
    }

    /// Design §2: a killed leader is replaced well before any timeout ends.
    @Test(arguments: 0..<10) func provenDeathOfTheLeaderElectsAnotherWithinMilliseconds(seed: UInt64) {
        var cluster = Cluster(nodes: 3, voters: 3, seed: seed)
        cluster.run(until: cluster.now.advanced(byMs: 2_000))
        let leader = cluster.nodes.firstIndex { $0.raft?.isLeader ?? false }
        guard let leader else { return #expect(Bool(false), "no first leader") }
        let epoch = cluster.nodes[leader].raft?.epoch ?? 0
        cluster.crash(leader, power: false)
        cluster.run(until: cluster.now.advanced(byMs: 150))
        let successors = cluster.nodes.filter { $0.raft?.isHighWatermarkOfEpoch ?? false }
        #expect(successors.count == 1 && (successors.first?.raft?.epoch ?? 0) == epoch + 1)
    }
}
