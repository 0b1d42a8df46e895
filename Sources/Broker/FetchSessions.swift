// Incremental fetch sessions (KIP-227): what a reader asked for last time, so that it need only say what changed.

import Model

/// One partition as a reader wants it.
struct FetchTarget {
    var topicPartition: TopicPartition
    /// Filled where the request named the topic; answers name it the same way.
    var topicName: String
    /// Set when the topic could not be found: answered and never read.
    var unknown: ErrorCode?
    var partition: PartitionIndex
    var currentLeaderEpoch: LeaderEpoch
    var fetchOffset: Offset
    var lastFetchedEpoch: LeaderEpoch
    var logStartOffset: Offset
    var cleanedEnd: Offset
    var maxBytes: Int
    /// What the last answer of the session said; an incremental answer repeats a partition only when something differs.
    var told = ToldToReader(highWatermark: -2, logStartOffset: -2, error: .none, cleanedByAll: 0)
}

/// What a target's answer said of its partition.
struct ToldToReader: Equatable {
    var highWatermark: Offset
    var logStartOffset: Offset
    var error: ErrorCode
    var cleanedByAll: Offset
}

/// Where a session keeps one of its targets.
struct Reading {
    /// Ends its readings before it goes, and begins none after; the session in turn holds its replicas.
    unowned let session: FetchSession
    let slot: Int
}

/// A round over a session costs what has news, not what there is: whoever changes what an answer would say takes note
/// of it in the sessions that read the partition, and a look that finds nothing ends the note. All targets are looked
/// at now and then all the same, because that is how a leader knows that a follower at the end of its log is alive.
final class FetchSession {
    private struct Key: Hashable {
        var topicPartition: TopicPartition
        var name: String

        /// By name where the reader names topics: what the name stands for may have changed since.
        init(_ topicPartition: TopicPartition, _ name: String) {
            self.topicPartition = name.isEmpty ? topicPartition : TopicPartition(.zero, topicPartition.partition)
            self.name = name
        }
    }

    let id: Int32
    var nextEpoch: Int32 = 1
    /// By slot; nil: forgotten, and the slot is free.
    private(set) var targets: [FetchTarget?] = []
    var lastUsed: Instant
    /// The fetch of this session that waits; the next one ends its wait.
    var parked: UInt64?
    /// When all targets were looked at last.
    var walkedAt: Instant

    private var free: [Int] = []
    private var slots: [Key: Int] = [:]
    /// Slots that may have news, in the order in which they are served.
    private(set) var noted: [Int] = []
    private var isNoted: [Bool] = []
    /// The replica of each slot that knows of this session.
    private var replicas: [Replica?] = []
    private var isEnded = false

    init(id: Int32, targets: [FetchTarget], at now: Instant) {
        self.id = id
        lastUsed = now
        walkedAt = now
        for target in targets { update(target) }
    }

    var isEmpty: Bool { slots.isEmpty }

    /// What was told before does not count: the reader may have thrown that answer away, and asks anew.
    func update(_ target: FetchTarget) {
        let key = Key(target.topicPartition, target.topicName)
        if let slot = slot(of: key) {
            targets[slot] = target
            return note(slot)
        }
        let slot = free.popLast() ?? targets.count
        if slot == targets.count {
            targets.append(target)
            isNoted.append(false)
            replicas.append(nil)
        } else {
            targets[slot] = target
        }
        slots[key] = slot
        note(slot)
    }

    func forget(_ topicPartition: TopicPartition, _ name: String) {
        let key = Key(topicPartition, name)
        guard let slot = slots.removeValue(forKey: key) else { return }
        leaveReplica(slot)
        targets[slot] = nil
        // A note of it that is left is passed over, and taken for the next target's.
        free.append(slot)
    }

    func resolved(_ slot: Int, _ target: FetchTarget) { targets[slot] = target }

    func told(_ slot: Int, _ told: ToldToReader) { targets[slot]?.told = told }

    /// Readers walk their partitions in the same order again and again, so the one after the last hit is tried first.
    private var hint = 0
    private func slot(of key: Key) -> Int? {
        if hint < targets.count, let target = targets[hint], Key(target.topicPartition, target.topicName) == key {
            defer { hint += 1 }
            return hint
        }
        guard let found = slots[key] else { return nil }
        hint = found + 1
        return found
    }

    // MARK: News

    func note(_ slot: Int) {
        guard !isNoted[slot] else { return }
        isNoted[slot] = true
        noted.append(slot)
    }

    /// Whoever takes them puts back what has news still.
    func takeNoted() -> [Int] {
        defer { noted = [] }
        for slot in noted { isNoted[slot] = false }
        return noted
    }

    /// From now on the replica's news are noted here.
    func join(_ replica: Replica, _ slot: Int) {
        guard !isEnded, replicas[slot] !== replica else { return }
        leaveReplica(slot)
        replicas[slot] = replica
        replica.readings.append(Reading(session: self, slot: slot))
    }

    private func leaveReplica(_ slot: Int) {
        replicas[slot]?.readings.removeAll { $0.session === self && $0.slot == slot }
        replicas[slot] = nil
    }

    /// Nobody goes on with it, but a fetch that is on its way may still be answered from it.
    func end() {
        isEnded = true
        for slot in replicas.indices { leaveReplica(slot) }
    }

    /// The replica is not served here any more.
    func lose(_ slot: Int) {
        replicas[slot] = nil
        note(slot)
    }
}

struct FetchSessions {
    private var sessions = SortedMap<Int32, FetchSession>()
    private var nextID: Int32
    /// The shards of a node share the numbers: each takes every so manieth.
    private let step: Int32

    /// Ids begin at a place of their own with every start, or a reader of the process before would go on in a session
    /// of somebody else's.
    init(wallMs: Int64, shard: Int, of shardCount: Int) {
        step = Int32(shardCount)
        let place = Int32(1 + (wallMs & .max) % Int64(Int32.max))
        nextID = Self.id(atOrAbove: place, shard, step)
    }

    /// A reader that comes again to another shard must not go on in a session of that one's.
    private static func id(atOrAbove place: Int32, _ shard: Int, _ step: Int32) -> Int32 {
        guard place <= .max - 2 * step else { return id(atOrAbove: 1, shard, step) }
        return place + (Int32(shard) + step - place % step) % step
    }

    /// An unused session may be dropped for a new one after this, Kafka's `min.incremental.fetch.session.eviction.ms`.
    static let evictionMs: Int64 = 120_000

    subscript(id: Int32) -> FetchSession? { sessions[id] }

    var all: [FetchSession] { sessions.values }

    /// Nil when the cache is full of sessions in use: the reader goes on without one.
    mutating func open(_ targets: [FetchTarget], at now: Instant) -> FetchSession? {
        guard sessions.count < Limits.fetchSessionsMax / Int(step) else { return nil }
        // They come round again, and a follower's session may have lived since.
        while sessions[nextID] != nil { nextID = idAfter(nextID) }
        let session = FetchSession(id: nextID, targets: targets, at: now)
        nextID = idAfter(nextID)
        sessions[session.id] = session
        return session
    }

    private func idAfter(_ id: Int32) -> Int32 {
        Self.id(atOrAbove: id > .max - step ? 1 : id + step, Int(id % step), step)
    }

    mutating func close(_ id: Int32) { sessions.removeValue(forKey: id)?.end() }

    mutating func expire(at now: Instant) {
        for (id, session) in sessions
        where session.parked == nil && now.milliseconds(since: session.lastUsed) > Self.evictionMs {
            close(id)
        }
    }
}
