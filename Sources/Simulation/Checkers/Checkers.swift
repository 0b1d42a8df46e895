// All checkers of one world, and the places at which the world lets them look: after every step, before its effects
// leave.

import Broker
import Model
import Storage

final class Checkers {
    private(set) var counts = [Int](repeating: 0, count: Invariant.allCases.count)
    let quorum = QuorumChecker()
    let metadata = MetadataChecker()
    let partitions = PartitionChecker()
    let clients = ClientChecker()
    let starts = StartChecker()
    let states = QuorumStateChecker()
    let disks = DiskChecker()
    let groups = GroupChecker()
    let compactions = CompactionChecker()
    private(set) var topics: [String] = []
    /// Some may have come again.
    private(set) var deletedTopics: [String] = []
    /// Asked for, and never answered: the call may yet arrive, after others that were sent later.
    private var lateCreations: [String] = []
    private var lateDeletions: [String] = []

    func count(_ invariant: Invariant) {
        guard let index = Invariant.allCases.firstIndex(of: invariant) else { return }
        counts[index] += 1
    }

    /// Whether the broken rule still binds: an asynchronous topic promises nothing across losses of power.
    func binds(_ isSynchronous: Bool, _ world: World) -> Bool { isSynchronous || world.powerLosses == 0 }

    // MARK: Where the world calls

    func started(_ node: SimulatedNode, _ process: Node, _ world: World) {
        partitions.started(node)
        // The power may have kept a save whose barrier nobody saw.
        quorum.voteSaved(node, process.control, world)
        disks.started(node, world)
        controlStepped(node, process.control, world)
    }

    func controlStepped(_ node: SimulatedNode, _ control: Control, _ world: World) {
        quorum.stepped(node, control, world)
        states.stepped(node, control, world)
        metadata.stepped(node, control, world)
    }

    func controlBarrierDone(_ node: SimulatedNode, _ ticket: FlushTicket, _ world: World) {
        if ticket.owner == 2, let control = node.process?.control {
            quorum.voteSaved(node, control, world)
        }
    }

    func shardStepped(_ node: SimulatedNode, _ shard: Shard, _ world: World) {
        partitions.stepped(node, shard, world)
        starts.stepped(node, shard, world)
        disks.stepped(node, shard, world)
        groups.stepped(node, shard, world)
        compactions.stepped(node, shard, world)
        checkNotes(node, shard, world)
    }

    /// Fetch rounds look at what was noted (docs/decisions/0026): nothing else has moved (N1, ours).
    private func checkNotes(_ node: SimulatedNode, _ shard: Shard, _ world: World) {
        let found = shard.inspectNotes()
        if found.unasked > 0 { count(.n1asked) }
        if found.untold > 0 { count(.n1told) }
        for missed in found.missed { world.violated("N1", "node \(node.id): \(missed), and nobody took note") }
    }

    /// Its process is still there to be looked at.
    func ended(_ node: SimulatedNode, _ world: World) { disks.ended(node) }

    /// The step that nobody saw the end of may have done anything to its files.
    func diedInStep(_ node: SimulatedNode) {
        partitions.diedInStep(node)
        disks.diedInStep(node)
    }

    /// Writes may fail from now on.
    func mayFail(_ node: SimulatedNode) { partitions.mayFail(node) }

    func wiped(_ node: SimulatedNode) {
        quorum.wiped(node)
        partitions.wiped(node)
        disks.wiped(node)
    }

    /// Its process ended, and its disk is about to lose some of what it promised.
    func rots(_ node: SimulatedNode) { partitions.rots(node) }

    // MARK: Where the clients call

    func topicCreated(_ name: String) {
        topics.append(name)
        metadata.topicCreated(name)
    }

    func topicDeleted(_ name: String) {
        topics.removeAll { $0 == name }
        metadata.topicDeleted(name)
        if !deletedTopics.contains(name) { deletedTopics.append(name) }
    }

    func creationUnanswered(_ name: String) { lateCreations.append(name) }

    func deletionUnanswered(_ name: String) { lateDeletions.append(name) }

    /// Whether a topic must be there at the end, or must not: nil where a late call may have come in between.
    func mustExist(_ name: String) -> Bool? {
        if topics.contains(name) { return lateDeletions.contains(name) ? nil : true }
        return lateCreations.contains(name) ? nil : false
    }

    func sent(_ values: [UInt64], to key: TopicPartition, isIdempotent: Bool) {
        clients.sent(values, isIdempotent: isIdempotent)
    }

    func acknowledged(_ acknowledgement: Acknowledgement, by node: SimulatedNode, _ world: World) {
        partitions.acknowledged(acknowledgement, by: node, world)
        clients.acknowledged(acknowledgement, isBinding: partitions.isBinding(acknowledgement.key, world), world)
    }

    func consumed(_ key: TopicPartition, _ offset: Offset, _ value: UInt64?, _ world: World) {
        partitions.consumed(key, offset, value, world)
    }

    func consumerTurnedAway(_ key: TopicPartition, at offset: Offset, _ world: World) {
        guard partitions.isBinding(key, world), !starts.mayBeDeleted(key, offset, world) else { return }
        world.violated("P7", "a consumer read \(key) up to \(offset), and now that is out of range")
    }

    func endShown(
        _ key: TopicPartition, _ offset: Offset, by node: SimulatedNode, _ asked: Asked, _ world: World
    ) {
        partitions.endShown(key, offset, by: node, asked, world)
    }

    func sequenceRefused(_ key: TopicPartition, _ values: [UInt64], _ error: ErrorCode, _ world: World) {
        guard partitions.isBinding(key, world) else { return }
        world.violated(
            "I1",
            "the oldest batch \(values) that an idempotent producer sent to \(key) was "
                + "refused: \(error)")
    }

    func producerIDGiven(_ id: ProducerID, _ world: World) { clients.producerIDGiven(id, world) }
}
