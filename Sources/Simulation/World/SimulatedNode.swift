// One machine: its disk, and the process that runs on it or does not.

import Broker
import DiskSimulation
import Model

/// A link of one machine, as the shell keeps it.
struct SimulatedLink {
    var endpoint: Endpoint
    /// Counts attempts; what belongs to an older one is void.
    var attempt = 0
    var connection: Int?
    var isConnected = false
    var retry = LinkRetry()
}

enum CrashKind {
    case process
    case power(PowerLossPolicy)
}

struct PendingCrash {
    var kind: CrashKind
    var downtimeMs: Int64
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
    var pendingCrash: PendingCrash?
    /// How long the process stays away when it ends next, as a fault says.
    var downtimeMs: Int64?
    /// The disk lost or changed something that it had promised; a refusal to start is no bug then.
    var isDamaged = false
    /// Until then it may give up, because its disk refuses or fails.
    var troubledUntil: Int64 = 0

    /// Of each machine, by its place: its links, when the last mail arrives (mail comes in order), its next tick.
    private var links = Machine.all.map { _ in SortedMap<LinkID, SimulatedLink>() }
    var lastMailAt = Machine.all.map { _ in Int64(0) }
    var tickAt = Machine.all.map { _ in Int64.max }
    private var clock = (world: Int64(0), monotonic: Int64(0))
    /// How much faster than the world its clock goes, in parts per million.
    private(set) var driftPPM: Int64 = 0
    var wallOffsetMs: Int64 = 0
    /// Barriers take this much longer while the disk is slow.
    var diskDelay: Int64 = 0
    /// Nothing of the metadata reaches it before.
    var blindUntil: Int64 = 0

    /// For the times of barriers, and of mail between the machines.
    var diskLots: SeededRandom
    var mailLots: SeededRandom

    init(id: NodeID, lots: Lots) {
        self.id = id
        var seeds = lots.stream(.disk, UInt64(id))
        disk = SimulatedDisk(seed: seeds.next())
        diskLots = seeds
        mailLots = lots.stream(.mail, UInt64(id))
    }

    var isRunning: Bool { process != nil }

    static let wallStartMs: Int64 = 1_750_000_000_000

    func reading(_ now: Int64) -> ClockReading {
        ClockReading(
            now: Instant(nanoseconds: monotonic(now)), wallMs: Self.wallStartMs + now / 1_000_000 + wallOffsetMs)
    }

    private func monotonic(_ now: Int64) -> Int64 {
        let elapsed = now - clock.world
        return clock.monotonic + elapsed + elapsed / 1_000 * driftPPM / 1_000
    }

    /// The world's time at which this node's clock will show `deadline`, or shortly after.
    func worldTime(of deadline: Instant) -> Int64 {
        let left = deadline.nanoseconds - clock.monotonic
        guard driftPPM != 0 else { return clock.world + left }
        return clock.world + left / (1_000_000 + driftPPM) * 1_000_000 + 1_000_000
    }

    func startClock(_ now: Int64, monotonic: Int64, wallOffsetMs: Int64) {
        clock = (now, monotonic)
        self.wallOffsetMs = wallOffsetMs
    }

    /// From now on; what the clock showed it has shown.
    func drift(_ now: Int64, ppm: Int64) {
        clock = (now, monotonic(now))
        driftPPM = ppm
    }

    var shards: [Shard] { process?.shards ?? [] }

    /// Whichever shard has it.
    func shard(of key: TopicPartition) -> Shard? {
        shards.count == 1 ? shards[0] : shards.first { $0.inspectedPartition(key) != nil }
    }

    func inspectReplicas(_ body: (ReplicaInspection) -> Void) {
        for shard in shards { shard.inspectReplicas(body) }
    }

    func links(_ machine: Machine) -> SortedMap<LinkID, SimulatedLink> { links[machine.place] }

    func updateLink(_ machine: Machine, _ id: LinkID, _ change: (inout SimulatedLink) -> Void) {
        guard var link = links[machine.place][id] else { return }
        change(&link)
        links[machine.place][id] = link
    }

    func setLink(_ machine: Machine, _ id: LinkID, _ link: SimulatedLink?) { links[machine.place][id] = link }

    func dropLinks() {
        for place in links.indices { links[place].removeAll() }
    }
}
