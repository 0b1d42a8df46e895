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
    var toldHighWatermark: Offset = -2
    var toldLogStartOffset: Offset = -2
    var toldError: ErrorCode = .none
    var toldCleanedByAll: Offset = 0
}

final class FetchSession {
    let id: Int32
    var nextEpoch: Int32 = 1
    var targets: [FetchTarget]
    var lastUsed: Instant
    /// The fetch of this session that waits; the next one ends its wait.
    var parked: UInt64?

    init(id: Int32, targets: [FetchTarget], at now: Instant) {
        self.id = id
        self.targets = targets
        self.lastUsed = now
    }

    func update(_ target: FetchTarget) {
        if let index = index(of: target.topicPartition, target.topicName) {
            // What was told before does not count: the reader may have thrown that answer away, and asks anew.
            targets[index] = target
        } else {
            targets.append(target)
        }
    }

    func forget(_ topicPartition: TopicPartition, _ name: String) {
        if let index = index(of: topicPartition, name) { targets.remove(at: index) }
    }

    /// These targets are served last from now on; `indices` rise.
    func moveToEnd(_ indices: [Int]) {
        let moved = indices.map { targets[$0] }
        for index in indices.reversed() { targets.remove(at: index) }
        targets += moved
    }

    /// Readers walk their partitions in the same order again and again, so the one after the last hit is tried first.
    private var hint = 0
    private func index(of topicPartition: TopicPartition, _ name: String) -> Int? {
        func matches(_ t: FetchTarget) -> Bool {
            // By name where the reader names topics: what the name stands for may have changed since.
            t.partition == topicPartition.partition && t.topicName == name
                && (!name.isEmpty || t.topicPartition == topicPartition)
        }
        if hint < targets.count, matches(targets[hint]) {
            defer { hint += 1 }
            return hint
        }
        guard let found = targets.firstIndex(where: matches) else { return nil }
        hint = found + 1
        return found
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

    /// Nil when the cache is full of sessions in use: the reader goes on without one.
    mutating func open(_ targets: [FetchTarget], at now: Instant) -> FetchSession? {
        guard sessions.count < Limits.fetchSessionsMax / Int(step) else { return nil }
        let session = FetchSession(id: nextID, targets: targets, at: now)
        nextID = Self.id(atOrAbove: nextID > .max - step ? 1 : nextID + step, Int(nextID % step), step)
        sessions[session.id] = session
        return session
    }

    mutating func close(_ id: Int32) { sessions.removeValue(forKey: id) }

    mutating func expire(at now: Instant) {
        for (id, session) in sessions where now.milliseconds(since: session.lastUsed) > Self.evictionMs {
            sessions.removeValue(forKey: id)
        }
    }
}
