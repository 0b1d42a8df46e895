// Makes a failing run small: fewer faults, a smaller world, shorter faults, an earlier end, for as long as the same
// invariant fails.

import Model

package struct Shrinker {
    /// What still fails.
    package private(set) var best: SimulationCase
    package private(set) var runs = 0
    private let bug: PlantedBug
    private let runsMax: Int
    private let progress: (String) -> Void

    /// Nil when the run does not fail.
    package init?(
        _ start: SimulationCase, bug: PlantedBug, runsMax: Int = 600, progress: @escaping (String) -> Void
    ) {
        best = start
        self.bug = bug
        self.runsMax = runsMax
        self.progress = progress
        guard let violation = start.run(bug: bug, trace: Trace(.none)).violation else { return nil }
        best.invariant = violation.invariant
        // The first run counts: what comes after the failure is not needed.
        runs = 1
        cutBehind(violation)
    }

    package mutating func shrink() {
        while runs < runsMax {
            let before = best
            removeFaults()
            simplifyWorld()
            shortenFaults()
            endEarlier()
            progress("\(best.schedule.faults.count) faults, end at \(best.schedule.healAtMs) ms, after \(runs) runs")
            if best == before { return }
        }
    }

    // MARK: Trying

    private mutating func accept(_ candidate: SimulationCase) -> Bool {
        guard candidate != best, runs < runsMax else { return false }
        runs += 1
        guard let violation = candidate.run(bug: bug, trace: Trace(.none)).violation,
            violation.invariant == best.invariant
        else { return false }
        best = candidate
        cutBehind(violation)
        return true
    }

    /// Faults that begin behind the failure change nothing.
    private mutating func cutBehind(_ violation: Violation) {
        let atMs = violation.atNanoseconds / 1_000_000
        best.schedule.faults.removeAll { $0.atMs > atMs }
        if best.schedule.healAtMs > atMs { best.schedule.healAtMs = atMs + 1 }
    }

    // MARK: Faults

    /// Delta debugging: halves, then quarters and their complements, down to single ones.
    private mutating func removeFaults() {
        var pieces = 2
        while !best.schedule.faults.isEmpty, runs < runsMax {
            let faults = best.schedule.faults
            let size = max(1, faults.count / pieces)
            var isSmaller = false
            // The late ones first: they are the likeliest to be superfluous.
            for start in stride(from: 0, to: faults.count, by: size).reversed() {
                var candidate = best
                candidate.schedule.faults.removeSubrange(start..<min(start + size, faults.count))
                if accept(candidate) {
                    isSmaller = true
                    break
                }
            }
            if isSmaller {
                pieces = max(pieces - 1, 2)
            } else if size == 1 {
                return
            } else {
                pieces = min(pieces * 2, faults.count)
            }
        }
    }

    private mutating func shortenFaults() {
        for index in best.schedule.faults.indices {
            for divisor in [8, 2] as [Int64] {
                while index < best.schedule.faults.count, best.schedule.faults[index].durationMs >= 10 {
                    var candidate = best
                    candidate.schedule.faults[index].durationMs /= divisor
                    guard accept(candidate) else { break }
                }
            }
        }
    }

    // MARK: The world

    private mutating func simplifyWorld() {
        for change in Swarm.simplifications {
            var candidate = best
            change(&candidate.swarm)
            _ = accept(candidate)
        }
    }

    /// A failure behind the faults: how early may they end? The time of the last one is the least that can be asked.
    private mutating func endEarlier() {
        var low = best.schedule.faults.last?.atMs ?? 0
        while low + 100 < best.schedule.healAtMs, runs < runsMax {
            var candidate = best
            candidate.schedule.healAtMs = (low + best.schedule.healAtMs) / 2
            let tried = candidate.schedule.healAtMs
            if !accept(candidate) { low = tried }
        }
    }
}

extension Swarm {
    /// Each makes the world smaller or plainer, the most telling ones first.
    static let simplifications: [@Sendable (inout Swarm) -> Void] = [
        { $0.consumers = 0 },
        { $0.consumers = min($0.consumers, 1) },
        { $0.plainProducers = 0 },
        { $0.plainProducers = min($0.plainProducers, 1) },
        { $0.idempotentProducers = 0 },
        { $0.idempotentProducers = min($0.idempotentProducers, 1) },
        { $0.groups = [] },
        { $0.groups = Array($0.groups.prefix(1)) },
        { $0.groups = Array($0.groups.suffix(1)) },
        { $0.groupMembers = min($0.groupMembers, 1) },
        { $0.groupMembers = min($0.groupMembers, 2) },
        { $0.groupLogPartitions = 1 },
        { $0.hasAsyncTopic = false },
        { $0.compacts = false },
        {
            $0.nodes = 3
            $0.replicationFactor = 3
        },
        { $0.replicationFactor = 3 },
        { $0.passingTopics = 0 },
        { $0.passingTopics = min($0.passingTopics, 1) },
        { $0.growth = 0 },
        { $0.partitions = 1 },
        { $0.segmentBytes = 1 << 30 },
        { $0.metadataSegmentBytes = 64 << 20 },
        { $0.metadataSnapshotBytes = 20 << 20 },
        { $0.changesShards = false },
        {
            $0.shards = 1
            $0.changesShards = false
        },
        { $0.healsByReset = false },
        { $0.delayMicroseconds = 30...600 },
        { $0.barrierMicroseconds = 80...2_500 },
        { $0.thinkMs = 100 },
    ]
}
