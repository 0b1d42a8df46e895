// One machine: its disk, and the process that runs on it or does not.

import Broker
import DiskSimulation
import Model

/// A link of one half, as the shell keeps it.
struct SimulatedLink {
    var endpoint: Endpoint
    /// Counts attempts; what belongs to an older one is void.
    var attempt = 0
    var connection: Int?
    var isConnected = false
    var lastImmediateRetry: Int64?
}

enum CrashKind {
    case process
    case power(PowerLossPolicy)
}

final class SimulatedNode {
    let id: NodeID
    let disk: SimulatedDisk
    /// Counts starts of the process. An event of an older life is void.
    var life = 0
    var process: Node?
    var isHostUp = true
    var isPaused = false
    /// What came while the process was paused, in order.
    var deferred: [Event] = []
    var isStopping = false
    /// Armed on the disk: what happens when it has counted down.
    var pendingCrash: CrashKind?
    /// The disk lost or changed something that it had promised; a refusal to start is no bug then.
    var isDamaged = false

    var controlLinks = SortedMap<LinkID, SimulatedLink>()
    var shardLinks = SortedMap<LinkID, SimulatedLink>()
    /// Mail arrives in order.
    var lastMailAt: (control: Int64, shard: Int64) = (0, 0)
    var tickAt: (control: Int64, shard: Int64) = (.max, .max)
    var monotonicOffset: Int64 = 0
    var wallOffsetMs: Int64 = 0
    /// Barriers take this much longer while the disk is slow.
    var diskDelay: Int64 = 0

    init(id: NodeID, seed: UInt64) {
        self.id = id
        disk = SimulatedDisk(seed: seed)
    }

    var isRunning: Bool { process != nil }

    static let wallStartMs: Int64 = 1_750_000_000_000

    func reading(_ now: Int64) -> ClockReading {
        ClockReading(
            now: Instant(nanoseconds: now + monotonicOffset),
            wallMs: Self.wallStartMs + now / 1_000_000 + wallOffsetMs)
    }

    func links(_ half: Half) -> SortedMap<LinkID, SimulatedLink> { half == .control ? controlLinks : shardLinks }

    func updateLink(_ half: Half, _ id: LinkID, _ change: (inout SimulatedLink) -> Void) {
        if half == .control {
            guard var link = controlLinks[id] else { return }
            change(&link)
            controlLinks[id] = link
        } else {
            guard var link = shardLinks[id] else { return }
            change(&link)
            shardLinks[id] = link
        }
    }

    func setLink(_ half: Half, _ id: LinkID, _ link: SimulatedLink?) {
        if half == .control { controlLinks[id] = link } else { shardLinks[id] = link }
    }
}
