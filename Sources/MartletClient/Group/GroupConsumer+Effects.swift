// What the machine of a member asks for, done with connections, requests and the inner consumer; and what comes back.

import Model
import NIOCore
import Wire

extension GroupConsumer {
    func perform(_ effect: GroupMachine.Effect) {
        switch effect {
        case .findCoordinator: findCoordinator()
        case .ask(let question): ask(question)
        case .askTopics(let names): askTopics(names)
        case .matchTopics: matchTopics()
        case .givePositions:
            let positions = reader.settledPositions(of: reader.assignment)
            input { $0.took(positions, at: $1) }
        case .release(let partitions, let isLost): release(partitions, isLost: isLost)
        case .releaseNow:
            state.withLockedValue { $0.heldBack?.isLost = true }
            giveUpHeldBack()
        case .begin(let beginnings): begin(beginnings)
        case .committed(let id, let error):
            guard let done = state.withLockedValue({ $0.commits.removeValue(forKey: id) }) else { return }
            if let error { done.resume(throwing: error) } else { done.resume() }
        case .abandon(let node): Task { [client, lane] in await client.close(lane, to: node) }
        case .fail(let error): reader.end(with: error)
        case .closed: ended()
        }
    }

    private func input(_ change: (inout GroupMachine, Instant) -> Void) {
        let now = pump.now
        state.withLockedValue { change(&$0.machine, now) }
        drainSoon()
    }

    // MARK: Requests

    private func findCoordinator() {
        Task { [weak self, client, groupID, lane, hasPattern = pattern != nil] in
            do {
                let node = try await client.findCoordinator(of: groupID)
                let link = try await client.link(to: node, lane)
                // Patterns came with version 1.
                let servesNextGeneration = link.serves(
                    ConsumerGroupHeartbeatRequest.self, from: hasPattern ? 1 : 0)
                self?.input { $0.found(node, servesNextGeneration: servesNextGeneration, at: $1) }
            } catch {
                let error = error as? ClientError ?? .closed
                if error == .closed { self?.clientWasClosed() }
                self?.input { $0.notFound(error, at: $1) }
            }
        }
    }

    private func ask(_ question: GroupMachine.Question) {
        // What the coordinator holds back would hold up all behind it.
        let lane: ClusterClient.Lane
        switch question.call {
        case .join, .sync, .heartbeat: lane = self.lane
        case .consumerHeartbeat(let request): lane = request.memberEpoch < 0 ? sideLane : self.lane
        case .leave, .commit, .fetchOffsets: lane = sideLane
        }
        Task { [weak self, client] in
            do {
                let link = try await client.link(to: question.node, lane)
                let answer = try await link.answer(to: question)
                self?.input { $0.answered(question.id, answer, at: $1) }
            } catch {
                let error = error as? ClientError ?? .closed
                if error == .closed { self?.clientWasClosed() }
                self?.input { $0.lost(question.id, error, at: $1) }
            }
        }
    }

    private func askTopics(_ names: [String]) {
        Task { [weak self, client] in
            do {
                let response = try await client.refreshMetadata(of: names)
                let found = response.topics.compactMap { $0.known }
                let unclear = response.topics.compactMap { topic in
                    topic.errorCode == .none || topic.errorCode == .unknownTopicOrPartition ? nil : topic.name
                }
                self?.input { $0.learned(topics: found, unclear: unclear, at: $1) }
            } catch {
                let error = error as? ClientError ?? .closed
                if error == .closed { self?.clientWasClosed() }
                self?.input { $0.failedToLearn(error, at: $1) }
            }
        }
    }

    private func matchTopics() {
        Task { [weak self, client, pattern] in
            do {
                // No topic has an empty name.
                guard let regex = try? Regex(pattern ?? "") else {
                    throw ClientError.refused(
                        what: "match topics with '\(pattern ?? "")'", .invalidRegularExpression, message: nil)
                }
                let response = try await client.refreshMetadata(of: nil)
                var found: [MetadataResponse.Topic] = []
                var others: [UUID128: String] = [:]
                for topic in response.topics {
                    guard let name = topic.name else { continue }
                    if !topic.isInternal, (try? regex.wholeMatch(in: name)) != nil {
                        found.append(topic)
                    } else {
                        others[topic.topicID] = name
                    }
                }
                let (known, unclear) = (
                    found.compactMap { $0.known }, found.compactMap { $0.errorCode == .none ? nil : $0.name }
                )
                self?.input { [others] in $0.matched(known, unclear: unclear, others: others, at: $1) }
            } catch {
                let error = error as? ClientError ?? .closed
                if error == .closed { self?.clientWasClosed() }
                self?.input { $0.failedToMatch(error, at: $1) }
            }
        }
    }

    // MARK: Partitions

    private func begin(_ beginnings: [GroupMachine.Beginning]) {
        let partitions = beginnings.map(\.partition)
        let isWatched = onChange != nil
        let stint = state.withLockedValue { state in
            state.lastStint += 1
            for partition in partitions where isWatched { state.untold[partition] = state.lastStint }
            return state.lastStint
        }
        var refused: [(TopicPartition, ClientError)] = []
        for beginning in beginnings {
            let partition = beginning.partition
            if let committed = beginning.committed {
                reader.begin(
                    partition, from: .offset(committed.offset), epoch: committed.leaderEpoch ?? -1, isPaused: isWatched)
            } else if configuration.offsetReset == .none {
                refused.append(
                    (
                        partition,
                        .noCommittedOffset(group: groupID, topic: partition.topic, partition.partition)
                    ))
            } else {
                let start: StartPosition = configuration.offsetReset == .earliest ? .earliest : .latest
                reader.begin(partition, from: start, epoch: -1, isPaused: isWatched)
            }
        }
        for (partition, error) in refused { reader.refuse(partition, error) }
        tell(.assigned(partitions)) { consumer in
            for partition in partitions where consumer.wasTold(partition, stint) { consumer.reader.resume(partition) }
        }
    }

    /// The handler knows of this stint in a partition. Whether it shall be read now: the handler may have paused it.
    private func wasTold(_ partition: TopicPartition, _ stint: Int) -> Bool {
        state.withLockedValue { state in
            guard state.untold[partition] == stint else { return false }
            state.untold[partition] = nil
            return !state.paused.contains(partition)
        }
    }

    private func release(_ partitions: [TopicPartition], isLost: Bool) {
        let release = reader.giveUp(partitions)
        state.withLockedValue { state in
            for partition in partitions {
                state.untold[partition] = nil
                state.paused.remove(partition)
            }
        }
        guard !isLost, let held = release.held else { return gaveUp(release, isLost: isLost, partitions) }
        state.withLockedValue { $0.heldBack = (release, isLost, partitions) }
        // The reader may have come back in between, and who closes does not come back.
        let isClosing = state.withLockedValue { $0.machine.isClosing }
        if isClosing || !reader.isHeld(held.id) { return giveUpHeldBack() }
        let patienceMs = Int64(configuration.rebalanceTimeoutMs) / 2
        pump.loop.scheduleTask(in: .milliseconds(patienceMs)) { [weak self] in self?.giveUpHeldBack(held.id) }
    }

    /// `id`: only if the reader still holds this.
    func giveUpHeldBack(_ id: Int? = nil) {
        let waiting = state.withLockedValue { state in
            guard let held = state.heldBack?.release.held, id == nil || held.id == id else {
                return nil as (release: GivenUp, isLost: Bool, partitions: [TopicPartition])?
            }
            defer { state.heldBack = nil }
            return state.heldBack
        }
        guard var waiting else { return }
        if let held = waiting.release.held, reader.isHeld(held.id) {
            waiting.release.positions[held.partition] = held.position
        }
        gaveUp(waiting.release, isLost: waiting.isLost, waiting.partitions)
    }

    private func gaveUp(_ release: GivenUp, isLost: Bool, _ partitions: [TopicPartition]) {
        if !isLost { state.withLockedValue { $0.revoked = release.positions } }
        tell(isLost ? .lost(partitions) : .revoked(partitions)) { consumer in
            consumer.state.withLockedValue { $0.revoked = SortedMap() }
            consumer.input { $0.released(release.positions, at: $1) }
        }
    }

    /// Runs the handler after those before it, and `done` when it has returned.
    private func tell(_ change: AssignmentChange, _ done: @escaping @Sendable (GroupConsumer) -> Void) {
        guard let onChange else { return done(self) }
        state.withLockedValue { state in
            state.handlers = Task { [weak self, before = state.handlers] in
                await before?.value
                await Self.$isHandlingChange.withValue(true) { await onChange(change) }
                if let self { done(self) }
            }
        }
    }

    // MARK: The end

    private func ended() {
        reader.close()
        let closing = state.withLockedValue { state in
            state.isClosed = true
            defer { state.closing = [] }
            return state.closing
        }
        for done in closing { done.resume() }
        Task { [client, lane, sideLane] in
            await client.close(lane)
            await client.close(sideLane)
        }
    }

    /// Nothing can be asked any more.
    private func clientWasClosed() {
        let commits = state.withLockedValue { state in
            state.machine.end()
            defer { state.commits = [:] }
            return state.commits
        }
        for done in commits.values { done.resume(throwing: ClientError.closed) }
        drainSoon()
    }
}

extension MetadataResponse.Topic {
    fileprivate var known: GroupMachine.KnownTopic? {
        guard errorCode == .none, let name else { return nil }
        return GroupMachine.KnownTopic(name: name, id: topicID, partitions: Int32(clamping: partitions.count))
    }
}

extension BrokerConnection {
    fileprivate func answer(to question: GroupMachine.Question) async throws -> GroupMachine.Answer {
        let waitMs = question.waitMs
        switch question.call {
        case .join(let request): return .join(try await send(request, extraWaitMs: waitMs))
        case .sync(let request): return .sync(try await send(request, extraWaitMs: waitMs))
        case .heartbeat(let request): return .heartbeat(try await send(request))
        case .consumerHeartbeat(let request): return .consumerHeartbeat(try await send(request))
        case .leave(let request): return .leave(try await send(request))
        // From version 10 on topics go by id only.
        case .commit(let request): return .commit(try await commit(request))
        case .fetchOffsets(let request): return .fetchOffsets(try await send(request, maxVersion: 9))
        }
    }

    /// By ids where they are known: under its name there may be another topic meanwhile.
    private func commit(_ request: OffsetCommitRequest) async throws -> OffsetCommitResponse {
        let names = Dictionary(request.topics.map { ($0.topicID, $0.name) }, uniquingKeysWith: { first, _ in first })
        guard names[.zero] == nil, names.count == request.topics.count else {
            return try await send(request, maxVersion: 9)
        }
        var response = try await send(request)
        for place in response.topics.indices where response.topics[place].name.isEmpty {
            response.topics[place].name = names[response.topics[place].topicID] ?? ""
        }
        return response
    }
}
