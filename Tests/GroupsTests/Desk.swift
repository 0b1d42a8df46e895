// A coordinator with the shard around it played by hand: a log in memory, a clock, and clients by name.

import Groups
import Model
import NIOCore
import Wire

struct Topics: TopicLookup {
    var all = [
        KnownTopic(name: "rooks", id: UUID128(low: 101), partitions: 4),
        KnownTopic(name: "swifts", id: UUID128(low: 102), partitions: 4),
    ]

    func topic(named name: String) -> KnownTopic? { all.first { $0.name == name } }
    func topic(_ id: UUID128) -> KnownTopic? { all.first { $0.id == id } }
    var topicNames: [String] { all.map(\.name) }
}

/// What a client remembers between two requests.
struct Client: Equatable {
    var memberID = ""
    var instanceID: String?
    var generation: Int32 = -1
    var protocols: [(name: String, topics: [String])] = [("range", ["rooks"])]
    var protocolType = "consumer"
    var sessionTimeoutMs: Int32 = 10_000
    var rebalanceTimeoutMs: Int32 = 60_000
    var version: Int16 = 9

    static func == (a: Client, b: Client) -> Bool { a.memberID == b.memberID && a.generation == b.generation }
}

struct Desk {
    var coordinator: GroupCoordinator
    var settings: GroupSettings
    var topics = Topics()
    /// The partition's log, and where each append ended.
    var log: [GroupRecord] = []
    var committed: Offset = 0
    /// Off: `commit()` moves the high watermark by hand.
    var commitsAtOnce = true
    /// What the next appends are refused with.
    var refusal: ErrorCode?
    var now = Instant(nanoseconds: 1_000_000_000)
    var clients: [String: Client] = [:]
    var consumers: [String: Consumer] = [:]
    var replies: [GroupTicket: GroupResponse] = [:]
    var asked: [GroupTicket] = []
    var events: [GroupEvent] = []
    /// What happened since it was last emptied, for scripts.
    var trace: [String] = []
    private(set) var answeredTwice: [GroupTicket] = []
    /// Answers as they left, for checkers.
    var arrivals: [Arrival] = []

    struct Arrival {
        var ticket: GroupTicket
        var response: GroupResponse
        /// How far the log was committed then.
        var committed: Offset
    }
    private var seed: UInt64
    /// Whose request it was, so that the answer finds its client.
    private(set) var ownerOf: [GroupTicket: String] = [:]

    /// The generation that each SyncGroup named.
    private(set) var syncGenerations: [GroupTicket: Int32] = [:]

    init(settings: GroupSettings = GroupSettings(), seed: UInt64 = 1, loaded: Bool = true) {
        self.settings = settings
        self.seed = seed
        coordinator = GroupCoordinator(partition: 7, settings: settings, seed: seed)
        if loaded { loadEnded() }
    }

    /// All that the log has was loaded.
    mutating func loadEnded() {
        let (end, topics, reading) = (end, topics, reading)
        var effects: [GroupEffect] = []
        coordinator.loadEnded(endOffset: end, topics: topics, at: reading, into: &effects)
        perform(effects)
    }

    var reading: ClockReading { ClockReading(now: now, wallMs: 1_700_000_000_000 + now.nanoseconds / 1_000_000) }
    var end: Offset { Offset(log.count) }

    func client(_ name: String) -> Client { clients[name] ?? Client() }

    // MARK: The shard's part

    @discardableResult
    mutating func ask(_ request: GroupRequest, version: Int16, name: String = "") -> GroupTicket {
        let ticket = GroupTicket(UInt64(asked.count + 1))
        asked.append(ticket)
        ownerOf[ticket] = name
        let call = GroupCall(request, version: version, ticket: ticket, clientID: name, clientHost: "/10.0.0.1")
        let (topics, reading) = (topics, reading)
        input { $0.requested(call, topics: topics, at: reading, into: &$1) }
        return ticket
    }

    mutating func input(_ input: (inout GroupCoordinator, inout [GroupEffect]) -> Void) {
        var effects: [GroupEffect] = []
        input(&coordinator, &effects)
        for effect in effects { perform(effect) }
        if commitsAtOnce, committed < end { commit() }
    }

    mutating func perform(_ effects: [GroupEffect]) {
        for effect in effects { perform(effect) }
    }

    private mutating func perform(_ effect: GroupEffect) {
        switch effect {
        case .append(let id, let records):
            let reading = reading
            var next: [GroupEffect] = []
            if let refusal {
                trace.append("append refused: \(refusal)")
                coordinator.refused(id, refusal, at: reading, into: &next)
            } else {
                log += records
                for record in records { trace.append("append \(record)") }
                coordinator.appended(id, endOffset: end, at: reading, into: &next)
            }
            for effect in next { perform(effect) }
        case .reply(let ticket, let response):
            if replies.updateValue(response, forKey: ticket) != nil { answeredTwice.append(ticket) }
            trace.append("\(ticket) \(text(response))")
            arrivals.append(Arrival(ticket: ticket, response: response, committed: committed))
            learn(ticket, response)
        case .log(let event):
            events.append(event)
            trace.append("log: \(event)")
        }
    }

    mutating func commit(upTo offset: Offset? = nil) {
        committed = max(committed, min(offset ?? end, end))
        let (committed, reading) = (committed, reading)
        var effects: [GroupEffect] = []
        coordinator.committed(upTo: committed, at: reading, into: &effects)
        for effect in effects { perform(effect) }
    }

    /// Time passes, and every deadline in it is kept.
    mutating func advance(_ milliseconds: Int64) {
        let target = now.advanced(byMs: milliseconds)
        while coordinator.nextDeadline <= target {
            now = max(now, coordinator.nextDeadline)
            let reading = reading
            input { $0.ticked(at: reading, into: &$1) }
        }
        now = target
    }

    /// Another node takes over with what the log holds, committed or, when `through` says so, less.
    mutating func failOver(through: Offset? = nil) {
        var effects: [GroupEffect] = []
        coordinator.resigned(into: &effects)
        for effect in effects { perform(effect) }
        log.removeLast(log.count - Int(through ?? end))
        seed += 1
        coordinator = GroupCoordinator(partition: 7, settings: settings, seed: seed)
        // As bytes, so that nothing survives that the log does not hold.
        for record in log {
            let bytes = record.encode()
            guard let read = try? GroupRecord.decode(key: bytes.key, value: bytes.value) else {
                fatalError("cannot be read back: \(record)")
            }
            coordinator.loaded(read)
        }
        loadEnded()
        committed = min(committed, end)
        if commitsAtOnce { commit() } else { commit(upTo: committed) }
    }

    // MARK: The clients' part

    /// A JoinGroup with what the client knows now.
    @discardableResult
    mutating func join(_ name: String, group: String = "g", reason: String? = nil) -> GroupTicket {
        let client = client(name)
        var request = JoinGroupRequest()
        request.groupID = group
        request.sessionTimeoutMs = client.sessionTimeoutMs
        request.rebalanceTimeoutMs = client.version == 0 ? -1 : client.rebalanceTimeoutMs
        request.memberID = client.memberID
        request.groupInstanceID = client.instanceID
        request.protocolType = client.protocolType
        request.reason = reason
        request.protocols = client.protocols.map { name, topics in
            var one = JoinGroupRequest.GroupProtocol()
            one.name = name
            var subscription = ConsumerProtocolSubscription()
            subscription.topics = topics
            one.metadata = client.protocolType == "consumer" ? subscription.encode() : ByteBuffer(string: name)
            return one
        }
        return ask(.joinGroup(request), version: client.version, name: name)
    }

    /// A JoinGroup, and another one with the id that the first was answered.
    @discardableResult
    mutating func enter(_ name: String, group: String = "g") -> GroupTicket {
        let first = join(name, group: group)
        return joined(first)?.errorCode == .memberIdRequired ? join(name, group: group) : first
    }

    @discardableResult
    mutating func sync(_ name: String, _ assignments: [String: String] = [:], group: String = "g") -> GroupTicket {
        let client = client(name)
        var request = SyncGroupRequest()
        request.groupID = group
        request.generationID = client.generation
        request.memberID = client.memberID
        request.groupInstanceID = client.instanceID
        request.assignments = assignments.sorted { $0.key < $1.key }.map { to, what in
            var one = SyncGroupRequest.Assignment()
            one.memberID = clients[to]?.memberID ?? to
            one.assignment = ByteBuffer(string: what)
            return one
        }
        let ticket = GroupTicket(UInt64(asked.count + 1))
        syncGenerations[ticket] = client.generation
        return ask(.syncGroup(request), version: 5, name: name)
    }

    @discardableResult
    mutating func beat(_ name: String, group: String = "g") -> ErrorCode? {
        let client = client(name)
        var request = HeartbeatRequest()
        request.groupID = group
        request.generationID = client.generation
        request.memberID = client.memberID
        request.groupInstanceID = client.instanceID
        guard case .heartbeat(let answer) = replies[ask(.heartbeat(request), version: 4, name: name)] else {
            return nil
        }
        return answer.errorCode
    }

    @discardableResult
    mutating func leave(_ name: String, group: String = "g", reason: String? = nil) -> ErrorCode? {
        var one = LeaveGroupRequest.Member()
        one.memberID = client(name).memberID
        one.groupInstanceID = client(name).instanceID
        one.reason = reason
        var request = LeaveGroupRequest()
        request.groupID = group
        request.members = [one]
        guard case .leaveGroup(let answer) = replies[ask(.leaveGroup(request), version: 5, name: name)] else {
            return nil
        }
        return answer.members.first?.errorCode
    }

    /// Commits in the client's generation; nil as name: from outside.
    @discardableResult
    mutating func commit(
        _ name: String?, _ offset: Offset, topic: String = "rooks", partition: Int32 = 0, group: String = "g",
        metadata: String = "", version: Int16 = 9
    ) -> GroupTicket {
        var request = OffsetCommitRequest()
        request.groupID = group
        if let name {
            request.generationIDOrMemberEpoch = client(name).generation
            request.memberID = client(name).memberID
            request.groupInstanceID = client(name).instanceID
        }
        var one = OffsetCommitRequest.Partition()
        one.partitionIndex = partition
        one.committedOffset = offset
        one.committedMetadata = metadata
        var asked = OffsetCommitRequest.Topic()
        if version >= 10 {
            asked.topicID = topics.topic(named: topic)?.id ?? UUID128(low: 999)
        } else {
            asked.name = topic
        }
        asked.partitions = [one]
        request.topics = [asked]
        return ask(.offsetCommit(request), version: version, name: name ?? "")
    }

    /// All offsets of a group.
    @discardableResult
    mutating func fetchAll(_ group: String = "g") -> GroupTicket {
        var asked = OffsetFetchRequest.Group()
        asked.groupID = group
        asked.topics = nil
        var request = OffsetFetchRequest()
        request.groups = [asked]
        return ask(.offsetFetch(request), version: 8)
    }

    private mutating func learn(_ ticket: GroupTicket, _ response: GroupResponse) {
        guard case .joinGroup(let answer) = response else { return }
        guard let name = ownerOf[ticket] else { return }
        if answer.errorCode == .memberIdRequired { clients[name, default: Client()].memberID = answer.memberID }
        if answer.errorCode == .none {
            clients[name, default: Client()].memberID = answer.memberID
            clients[name]?.generation = answer.generationID
        }
    }

    // MARK: Answers
    // Mutating only so that `desk.joined(desk.join(…))` looks after it has asked.

    mutating func joined(_ ticket: GroupTicket) -> JoinGroupResponse? {
        if case .joinGroup(let answer) = replies[ticket] { answer } else { nil }
    }

    mutating func synced(_ ticket: GroupTicket) -> SyncGroupResponse? {
        if case .syncGroup(let answer) = replies[ticket] { answer } else { nil }
    }

    mutating func commitError(_ ticket: GroupTicket) -> ErrorCode? {
        if case .offsetCommit(let answer) = replies[ticket] {
            answer.topics.first?.partitions.first?.errorCode
        } else {
            nil
        }
    }

    /// "topic-partition=offset" of a fetch's first group.
    mutating func offsets(_ ticket: GroupTicket) -> [String]? {
        guard case .offsetFetch(let answer) = replies[ticket], let group = answer.groups.first else { return nil }
        return group.topics.flatMap { topic in
            topic.partitions.map { "\(topic.name)-\($0.partitionIndex)=\($0.committedOffset)" }
        }
    }

    var group: Group? { coordinator.groups["g"] }
}
