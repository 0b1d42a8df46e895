// Creates the topics, and asks until they are there.

import Model
import Wire

final class SimulatedAdmin {
    let client: SimulatedClient
    private(set) var created: [String] = []
    private var wanted: [String]

    init(_ client: SimulatedClient, topics: [String]) {
        self.client = client
        wanted = topics
    }

    var isDone: Bool { wanted.isEmpty }

    func start() {
        client.later("looks for the cluster", ms: 300) { [unowned self] in createNext() }
    }

    private func createNext() {
        guard let name = wanted.first else { return }
        var topic = CreateTopicsRequest.Topic()
        topic.name = name
        topic.numPartitions = client.world.swarm.partitions
        topic.replicationFactor = Int16(client.world.swarm.nodes)
        if name.hasSuffix("async") {
            var config = CreateTopicsRequest.Config()
            config.name = "flush.mode"
            config.value = "async"
            topic.configs = [config]
        }
        var request = CreateTopicsRequest()
        request.topics = [topic]
        request.timeoutMs = 2_000
        client.ask(request, version: 7, of: client.anyNode(), timeoutMs: 3_000) { [unowned self] answer in
            let error = answer?.topics.first?.errorCode
            client.world.trace.note(
                client.world.now,
                "client \(client.number) creates \(name): "
                    + "\(String(describing: error))")
            if error == ErrorCode.none || error == .topicAlreadyExists {
                client.world.checkers.topicCreated(name)
                created.append(wanted.removeFirst())
            }
            client.later("goes on creating", ms: error == ErrorCode.none ? 1 : 200) { [unowned self] in createNext() }
        }
    }
}
