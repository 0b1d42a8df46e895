// A whole cluster with its clients in one seed: clock, network, disks and lots are all here, so the same seed is the
// same run.

import Broker
import Model
import NIOCore
import Storage

package final class World {
    let seed: UInt64
    let swarm: Swarm
    let schedule: Schedule
    let lots: Lots
    let bug: PlantedBug
    let trace: Trace
    let checkers = Checkers()

    /// Nanoseconds since the world began.
    private(set) var now: Int64 = 0
    private(set) var eventCount: UInt64 = 0
    private var queue = EventQueue()
    /// What happens at once, before time goes on.
    private var immediate: [Event] = []
    private var nextImmediate = 0

    let nodes: [SimulatedNode]
    /// For look-ups; `connectionsInOrder` to walk them.
    var connections: [Int: Connection] = [:]
    var connectionsMade = 0
    var linkAttempts = 0
    /// How many cuts lie between two hosts, by direction; 0 is the clients' network.
    var cuts: [[Int]]
    var spikeUntil: Int64 = 0
    var spikeMicroseconds: Int64 = 0
    /// Until then, connections with the lot deliver nothing new.
    var stallUntil: Int64 = 0
    var stallLot: UInt64 = 0

    /// How many connections each pair has had, for their keys.
    var connectionOrdinals: [UInt64: UInt64] = [:]

    var clients: [SimulatedClient] = []
    var admin: SimulatedAdmin?
    var deleter: SimulatedDeleter?
    var producers: [SimulatedProducer] = []
    var consumers: [SimulatedConsumer] = []
    var groups: [SimulatedGroup] = []
    var groupAdmin: SimulatedGroupAdmin?
    /// Producers make new batches.
    var isLoaded = true

    private(set) var violation: Violation?
    var powerLosses = 0
    /// Whose disk was replaced; at most one in a run.
    var wiped: NodeID?
    var hasWiped: Bool { wiped != nil }
    /// Whose disk rots: at most one in a run, so that one copy of everything stays whole.
    var rotten: NodeID?
    /// Until then requests that a fault holds may arrive.
    var heldUntil: Int64 = 0
    var elections = 0
    var faultCounts = [Int](repeating: 0, count: FaultKind.allCases.count)

    init(seed: UInt64, swarm: Swarm, schedule: Schedule, bug: PlantedBug, trace: Trace) {
        self.seed = seed
        self.swarm = swarm
        self.schedule = schedule
        let lots = Lots(seed: seed)
        self.lots = lots
        self.bug = bug
        self.trace = trace
        nodes = (1...swarm.nodes).map { SimulatedNode(id: $0, lots: lots) }
        for node in nodes { node.disk.coldOneIn = swarm.coldOneIn }
        cuts = Array(repeating: Array(repeating: 0, count: Int(swarm.nodes) + 1), count: Int(swarm.nodes) + 1)
        trace.note(0, "seed \(seed): \(swarm.description)")
        for fault in schedule.faults { trace.note(0, "will come: \(fault)") }
    }

    // MARK: Time

    func plan(_ event: Event, at: Int64) { queue.add(event, at: at) }

    func plan(_ event: Event, inMicroseconds delay: Int64) { queue.add(event, at: now + delay * 1_000) }

    /// Happens now, but behind what is already due.
    func deliver(_ event: Event) { immediate.append(event) }

    /// Runs until `end` is over or `isDone` says so. False at the end of time without it, or at a violation.
    func run(until end: Int64, _ isDone: () -> Bool) -> Bool {
        while violation == nil {
            if nextImmediate < immediate.count {
                let event = immediate[nextImmediate]
                nextImmediate += 1
                if nextImmediate == immediate.count {
                    immediate.removeAll(keepingCapacity: true)
                    nextImmediate = 0
                }
                happen(event)
                continue
            }
            if isDone() { return true }
            guard now < end, let entry = queue.takeFirst() else { return false }
            now = max(now, entry.at)
            happen(entry.event)
        }
        return false
    }

    private func happen(_ event: Event) {
        eventCount += 1
        switch event {
        case .control(let id, let life, let input):
            guard let node = living(id, life, event) else { return }
            trace.note(now, "node \(id) control: \(Words.of(input))")
            stepControl(node, input)
        case .shard(let id, let life, let index, let input):
            guard let node = living(id, life, event) else { return }
            trace.note(now, "node \(id) \(Machine.shard(index)): \(Words.of(input))")
            stepShard(node, index, input)
        case .tick(let id, let life, let machine): ticked(id, life, machine, event)
        case .barrier(let id, let life, let ticket):
            guard node(id).life == life, node(id).isRunning else { return }
            barrierDone(node(id), ticket)
        case .connect(let id, let life, let machine, let link, let attempt):
            guard node(id).life == life, node(id).isRunning else { return }
            connect(node(id), machine, link, attempt: attempt)
        case .knock(let number):
            if let connection = connections[number] { knock(connection) }
        case .arrival(let number, let side):
            if let connection = connections[number] { arrived(connection, towards: side) }
        case .run(let words, let action):
            trace.note(now, words)
            action()
        }
    }

    /// The node, if that life of it still runs; a paused one finds the event when it goes on.
    private func living(_ id: NodeID, _ life: Int, _ event: Event) -> SimulatedNode? {
        let node = self.node(id)
        guard node.life == life, node.isRunning else { return nil }
        guard !node.isPaused else {
            node.deferred.append(event)
            return nil
        }
        return node
    }

    private func ticked(_ id: NodeID, _ life: Int, _ machine: Machine, _ event: Event) {
        let node = self.node(id)
        guard node.life == life, node.isRunning else { return }
        if node.isPaused { return node.deferred.append(event) }
        // A tick that an earlier one has made superfluous says nothing.
        guard now >= node.tickAt[machine.place] else { return }
        node.tickAt[machine.place] = .max
        trace.note(now, "node \(id) \(machine): tick")
        switch machine {
        case .control: stepControl(node, .ticked)
        case .shard(let index): stepShard(node, index, .ticked)
        }
    }

    var connectionsInOrder: [Connection] { connections.values.sorted { $0.number < $1.number } }

    // MARK: What is wrong

    /// The first one ends the run.
    func violated(_ invariant: String, _ words: String) {
        guard violation == nil else { return }
        violation = Violation(invariant: invariant, words: words, atNanoseconds: now, event: eventCount)
        trace.note(now, "VIOLATED \(invariant): \(words)")
    }

    /// Lets go of everything that holds the world.
    func dismantle() {
        queue = EventQueue()
        immediate = []
        connections.removeAll()
        clients = []
        producers = []
        consumers = []
        for group in groups { group.dismantle() }
        groups = []
        groupAdmin = nil
        admin = nil
        deleter = nil
    }
}
