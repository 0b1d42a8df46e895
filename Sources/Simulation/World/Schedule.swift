// The faults of one run, drawn up front: a list that can be printed, shortened and given back.

import Model

package enum FaultKind: String, CaseIterable, Sendable, Codable {
    case delaySpike
    /// By lot, half of all connections deliver nothing for a while and the others do: messages overtake each other.
    case stall
    case connectionReset
    case isolation
    case split
    /// Two groups that see only one node in common.
    case bridge
    case oneWayCut
    case pause
    case clockDrift
    case clockJump
    case crash
    case crashInStep
    case crashOfSome
    case crashOfAll
    case powerLoss
    case powerLossInStep
    case powerLossOfAll
    case stop
    case stopOfAll
    case slowDisk
    case fullDisk
    case writeError
    case flushError
    case wipe
    /// A process ends, and what its disk had promised is changed, cut short or gone when it comes back.
    case rot
    /// A node hears nothing of the metadata while another one restarts.
    case blindness
    /// A proposal to take a node in comes late, when it has started again.
    case lateProposals
    /// What was sent to the controller and sent again on another connection arrives after all.
    case lateCopies

    /// Whether it strikes only where it is asked for by name.
    var isRare: Bool { [.blindness, .lateProposals, .lateCopies].contains(self) }
    /// Whether unflushed bytes may go.
    var losesPower: Bool { [.powerLoss, .powerLossInStep, .powerLossOfAll, .wipe].contains(self) }
    /// Whether a process ends; the duration is how long it stays away.
    var endsProcess: Bool {
        losesPower || [.crash, .crashInStep, .crashOfSome, .crashOfAll, .stop, .stopOfAll, .rot].contains(self)
    }
    var isInstant: Bool { self == .connectionReset || self == .clockJump }
}

package struct Fault: Hashable, Sendable, Codable, CustomStringConvertible {
    package var kind: FaultKind
    /// Whom it strikes, or from whom on others are counted.
    package var node: NodeID
    package var atMs: Int64
    /// How long it lasts; for what ends a process, how long it stays away.
    package var durationMs: Int64
    /// Everything else: directions, policies, strengths, other nodes.
    package var lot: UInt64

    package var description: String {
        "\(kind.rawValue) of node \(node) at \(atMs) ms"
            + (kind.isInstant ? "" : " for \(durationMs) ms") + ", lot \(lot)"
    }
}

package struct Schedule: Hashable, Sendable, Codable {
    /// By time.
    package var faults: [Fault]
    /// All faults end; load goes on for a moment.
    package var healAtMs: Int64

    package init(faults: [Fault], healAtMs: Int64) {
        self.faults = faults
        self.healAtMs = healAtMs
    }

    /// What `seed` would draw in the world of `swarm`.
    package init(seed: UInt64, swarm: Swarm) {
        let lots = Lots(seed: seed)
        var random = lots.stream(.schedule)
        // Faults begin anywhere from the first moment to the middle of the load.
        let quietMs = random.below(3) * 700
        healAtMs = quietMs + swarm.faultPhaseMs
        faults = []
        guard !swarm.faults.isEmpty else { return }
        var atMs = quietMs
        while true {
            atMs += 1 + random.below(2 * swarm.faultIntervalMs)
            guard atMs < healAtMs else { return }
            let kind = swarm.faults[Int(random.below(Int64(swarm.faults.count)))]
            let node = NodeID(1 + random.below(Int64(swarm.nodes)))
            let durationMs = kind.endsProcess ? Self.drawDowntime(&random) : Self.drawDuration(&random)
            // 53 bits: every reader of JSON keeps them.
            let lot = random.next() >> 11
            faults.append(Fault(kind: kind, node: node, atMs: atMs, durationMs: durationMs, lot: lot))
        }
    }

    /// Milliseconds; mostly short, sometimes longer than any session.
    private static func drawDuration(_ random: inout SeededRandom) -> Int64 {
        random.oneIn(3) ? 500 + random.below(3_000) : 10 + random.below(600)
    }

    static func drawDowntime(_ random: inout SeededRandom) -> Int64 {
        switch random.below(3) {
        case 0: 5 + random.below(50)
        case 1: 50 + random.below(600)
        default: 500 + random.below(3_000)
        }
    }
}
