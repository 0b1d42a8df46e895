// What there is to ask now: where to start, whether a new leader holds what was read, records, metadata, connections.

import Model
import NIOCore

extension ConsumerMachine {
    /// What one round of `drain` collects, by node.
    private struct Round {
        var fetch = SortedMap<NodeID, [FetchDispatch.Entry]>()
        var locate = SortedMap<NodeID, [Question.Entry]>()
        var compare = SortedMap<NodeID, [Question.Entry]>()
        /// Nodes with a partition that is left out because enough of it is fetched.
        var withFull: Set<NodeID> = []
    }

    /// The effects of everything that came in, in order, and when `drain` should run again without new input.
    package mutating func drain(at now: Instant) -> (effects: [Effect], wakeAt: Instant?) {
        watch(at: now)
        losePatience(at: now)
        var effects = abandoned.map(Effect.abandon)
        abandoned = []
        var round = Round()
        let partitions = assignments.keys
        for step in partitions.indices {
            collect(partitions[(step + turn) % partitions.count], into: &round, at: now, &effects)
        }
        // Only a request uses a turn up: else looks in between would give it to the same ones each time.
        if !round.fetch.isEmpty { turn += 1 }
        for (node, entries) in round.locate { effects.append(.locate(question(node, entries, at: now))) }
        for (node, entries) in round.compare { effects.append(.compare(question(node, entries, at: now))) }
        for (node, entries) in round.fetch {
            // A node holds one answer back at a time. What is full now is to be asked for soon.
            let waitMs = round.withFull.contains(node) ? min(20, configuration.fetchWaitMs) : configuration.fetchWaitMs
            let id = note(node, entries.map(\.partition), waitMs: Int64(waitMs), isFetch: true, at: now)
            effects.append(.fetch(FetchDispatch(id: id, node: node, entries: entries, waitMs: waitMs)))
        }
        askMetadata(at: now, &effects)
        return (effects, nextLook(after: now))
    }

    private mutating func collect(
        _ partition: TopicPartition, into round: inout Round, at now: Instant, _ effects: inout [Effect]
    ) {
        guard let known = assignments[partition], !known.isAsked, known.phase != .failed else { return }
        guard let leader = known.leader else { return }
        let node = known.phase == .reading ? known.preferred ?? leader : leader
        if links.shouldConnect(node, at: now) { effects.append(.connect(node)) }
        guard !known.isLeaderStale, known.retryAt <= now, links.isConnected(node) else { return }
        switch known.phase {
        case .failed: break
        case .starting(let start):
            let subject: Int64 =
                switch start {
                case .earliest: -2
                case .latest, .offset: -1
                // Negative numbers are Kafka's words for start, end and others.
                case .timestamp(let ms): max(0, ms)
                }
            round.locate[node, default: []].append(
                Question.Entry(partition: partition, leaderEpoch: known.leaderEpoch, subject: subject))
        case .comparing:
            round.compare[node, default: []].append(
                Question.Entry(
                    partition: partition, leaderEpoch: known.leaderEpoch, subject: Int64(known.lastEpoch)))
        case .reading:
            guard !known.isPaused, !fetching.contains(node) else { return }
            guard known.bufferedBytes < 2 * Int(known.bytesMax), waitingBytes < configuration.prefetchBytesMax else {
                round.withFull.insert(node)
                return
            }
            round.fetch[node, default: []].append(
                FetchDispatch.Entry(
                    partition: partition, leaderEpoch: known.leaderEpoch, offset: known.position,
                    lastEpoch: known.lastEpoch, bytesMax: known.bytesMax))
        }
    }

    /// Bytes at hand for readers. What waits for `resume` keeps nobody from reading the rest.
    private var waitingBytes: Int {
        guard bufferedBytes >= configuration.prefetchBytesMax else { return bufferedBytes }
        return assignments.reduce(0) { $1.value.isPaused ? $0 : $0 + $1.value.bufferedBytes }
    }

    private mutating func question(_ node: NodeID, _ entries: [Question.Entry], at now: Instant) -> Question {
        let id = note(node, entries.map(\.partition), waitMs: 0, isFetch: false, at: now)
        return Question(id: id, node: node, entries: entries)
    }

    /// Writes down that a request goes out.
    private mutating func note(
        _ node: NodeID, _ partitions: [TopicPartition], waitMs: Int64, isFetch: Bool, at now: Instant
    ) -> Int {
        lastRequestID += 1
        let asked = partitions.map { partition in
            let known = assignments[partition]
            return Asked(
                partition: partition, generation: known?.generation ?? 0, leaderEpoch: known?.leaderEpoch ?? -1)
        }
        requests[lastRequestID] = Request(
            node: node, partitions: asked, isFetch: isFetch,
            lateAt: now.advanced(byMs: waitMs + configuration.lateAnswerMs))
        for partition in partitions { assignments[partition]?.isAsked = true }
        if isFetch { fetching.insert(node) }
        return lastRequestID
    }

    /// An answer that is late is a reason to ask who leads now.
    private mutating func watch(at now: Instant) {
        for id in requests.keys {
            guard let request = requests[id], !request.isWatched, request.lateAt <= now else { continue }
            requests[id]?.isWatched = true
            metadata.doubted()
            // That another leads now may be known already.
            let isElsewhere = request.partitions.contains { asked in
                guard let known = assignments[asked.partition], let leader = known.leader else { return false }
                return leader != request.node && known.preferred != request.node
            }
            if isElsewhere { abandon(request.node) }
        }
    }

    /// A partition without a leader, or with one that cannot be reached, gets no answer that could fail.
    private mutating func losePatience(at now: Instant) {
        guard let patienceMs = configuration.patienceMs else { return }
        for (partition, known) in assignments where known.phase != .failed {
            let isStuck = known.leader.map { known.isLeaderStale || links.isTroubled($0) } ?? true
            guard isStuck || known.failingSince != nil else { continue }
            let since = known.failingSince ?? now
            assignments[partition]?.failingSince = since
            let spentMs = now.milliseconds(since: since)
            guard isStuck, spentMs >= patienceMs else { continue }
            let reason = known.leader.map { "its leader, node \($0), cannot be reached" } ?? "it has no leader"
            fail(partition, .gaveUp(what: "read \(partition)", afterMs: spentMs, last: known.lastError ?? reason))
        }
    }

    private mutating func askMetadata(at now: Instant, _ effects: inout [Effect]) {
        guard !metadata.isAsking, !assignments.isEmpty else { return }
        var topics: Set<String> = []
        guard metadata.retryAt <= now else { return }
        if now.milliseconds(since: metadata.learnedAt) >= configuration.metadataMaxAgeMs {
            topics = Set(assignments.keys.map(\.topic))
        } else {
            for (partition, known) in assignments where known.leader == nil || known.isLeaderStale {
                topics.insert(partition.topic)
            }
            for (_, request) in requests where request.isWatched {
                for asked in request.partitions { topics.insert(asked.partition.topic) }
            }
        }
        guard !topics.isEmpty else { return }
        metadata.asked()
        effects.append(.askMetadata(topics.sorted()))
    }

    private func nextLook(after now: Instant) -> Instant? {
        var next = Instant.distantFuture
        for (_, known) in assignments where known.phase != .failed {
            if known.leader == nil || known.isLeaderStale, !metadata.isAsking { next = min(next, metadata.retryAt) }
            guard !known.isAsked else { continue }
            if let node = known.leader, let retryAt = links.retryAt(node), retryAt > now { next = min(next, retryAt) }
            if known.retryAt > now { next = min(next, known.retryAt) }
        }
        if let patienceMs = configuration.patienceMs {
            for (_, known) in assignments where known.phase != .failed {
                guard let since = known.failingSince else { continue }
                let end = since.advanced(byMs: patienceMs)
                if end > now { next = min(next, end) }
            }
        }
        for (_, request) in requests {
            if !request.isWatched {
                next = min(next, request.lateAt)
            } else if !metadata.isAsking {
                next = min(next, metadata.retryAt)
            }
        }
        return next == .distantFuture ? nil : max(next, now)
    }
}
