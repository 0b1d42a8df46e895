// Creates the topics, and asks until they are there; then, under load, makes another and deletes it, again and again
// under the same name, and gives a topic more partitions.

import Model
import Wire

final class SimulatedAdmin {
    static let passingTopic = "passing"

    let client: SimulatedClient
    /// Creation of the lasting topics is over.
    var hasCreated: Bool { wanted.isEmpty }
    private var wanted: [String]
    private var isBusy = false
    private var passingLeft: Int
    private var growthLeft: Int32
    private var partitions: Int32
    /// Of the passing topic that is there now.
    private var passing: (producer: SimulatedProducer, consumer: SimulatedConsumer)?

    private var world: World { client.world }

    init(_ client: SimulatedClient, topics: [String]) {
        self.client = client
        wanted = topics
        passingLeft = client.world.swarm.passingTopics
        growthLeft = client.world.swarm.growth
        partitions = client.world.swarm.partitions
    }

    var isDone: Bool { hasCreated && !isBusy }

    func start() {
        client.later("looks for the cluster", ms: 300) { [unowned self] in createNext() }
    }

    private func createNext() {
        guard let name = wanted.first else { return planChore() }
        create(name, partitions: world.swarm.partitions) { [unowned self] in
            wanted.removeFirst()
            createNext()
        }
    }

    private func create(_ name: String, partitions: Int32, then: @escaping () -> Void) {
        var topic = CreateTopicsRequest.Topic()
        topic.name = name
        topic.numPartitions = partitions
        topic.replicationFactor = Int16(world.swarm.replicationFactor)
        // Clocks jump by years here, and neither time refuses records nor takes them away.
        topic.configs = [("retention.ms", "-1"), ("message.timestamp.after.max.ms", String(Int64.max))].map(config)
        if name.hasSuffix("async") { topic.configs.append(config("flush.mode", "async")) }
        if name == KeyedRecords.topic { topic.configs += world.swarm.compaction.map(config) }
        var request = CreateTopicsRequest()
        request.topics = [topic]
        request.timeoutMs = 2_000
        client.ask(request, version: 7, of: client.anyNode(), timeoutMs: 3_000) { [unowned self] answer in
            let error = answer?.topics.first?.errorCode
            note("creates \(name)", error)
            if error == nil || error == .requestTimedOut { world.checkers.creationUnanswered(name) }
            guard error == ErrorCode.none || error == .topicAlreadyExists else {
                return client.later("goes on creating", ms: 200) { [unowned self] in
                    create(name, partitions: partitions, then: then)
                }
            }
            world.checkers.topicCreated(name)
            client.later("goes on creating", ms: error == ErrorCode.none ? 1 : 200, then)
        }
    }

    private func config(_ name: String, _ value: String) -> CreateTopicsRequest.Config {
        var config = CreateTopicsRequest.Config()
        config.name = name
        config.value = value
        return config
    }

    private func note(_ deed: String, _ error: ErrorCode?) {
        world.trace.note(world.now, "client \(client.number) \(deed): \(error?.description ?? "no answer")")
    }

    // MARK: Chores

    private func planChore() {
        guard passingLeft > 0 || growthLeft > 0 || passing != nil else { return }
        client.later("has a chore", ms: 200 + client.lots.below(1_500)) { [unowned self] in chore() }
    }

    private func chore() {
        guard world.isLoaded else { return }
        isBusy = true
        if growthLeft > 0, passingLeft == 0 || client.lots.oneIn(2) {
            growthLeft -= 1
            partitions += 1
            grow()
        } else if passing != nil {
            delete()
        } else if passingLeft > 0 {
            passingLeft -= 1
            create(Self.passingTopic, partitions: 1 + Int32(client.lots.below(2))) { [unowned self] in usePassing() }
        } else {
            isBusy = false
        }
    }

    private func choreDone() {
        isBusy = false
        planChore()
    }

    private func usePassing() {
        func newClient() -> SimulatedClient {
            let client = SimulatedClient(number: world.clients.count + 1, world: world)
            world.clients.append(client)
            return client
        }
        let producer = SimulatedProducer(newClient(), topic: Self.passingTopic, isIdempotent: false)
        let consumer = SimulatedConsumer(newClient(), topic: Self.passingTopic)
        world.producers.append(producer)
        world.consumers.append(consumer)
        passing = (producer, consumer)
        producer.start(afterMs: 1)
        consumer.start(afterMs: 1)
        choreDone()
    }

    /// An answer that was lost leaves a topic that is there no more.
    private func delete() {
        var topic = DeleteTopicsRequest.Topic()
        topic.name = Self.passingTopic
        var request = DeleteTopicsRequest()
        request.topics = [topic]
        request.timeoutMs = 2_000
        client.ask(request, version: 6, of: client.anyNode(), timeoutMs: 3_000) { [unowned self] answer in
            let error = answer?.topics.first?.errorCode
            note("deletes \(Self.passingTopic)", error)
            if error == nil || error == .requestTimedOut { world.checkers.deletionUnanswered(Self.passingTopic) }
            guard error == ErrorCode.none || error == .unknownTopicOrPartition else {
                return client.later("goes on deleting", ms: 200) { [unowned self] in delete() }
            }
            world.checkers.topicDeleted(Self.passingTopic)
            passing?.producer.abandon()
            passing?.consumer.abandon()
            passing = nil
            choreDone()
        }
    }

    private func grow() {
        var topic = CreatePartitionsRequest.Topic()
        topic.name = "t"
        topic.count = partitions
        var request = CreatePartitionsRequest()
        request.topics = [topic]
        request.timeoutMs = 2_000
        client.ask(request, version: 3, of: client.anyNode(), timeoutMs: 3_000) { [unowned self] answer in
            let error = answer?.results.first?.errorCode
            note("grows t to \(partitions) partitions", error)
            guard error == ErrorCode.none || error == .invalidPartitions else {
                return client.later("goes on growing", ms: 200) { [unowned self] in grow() }
            }
            choreDone()
        }
    }
}
