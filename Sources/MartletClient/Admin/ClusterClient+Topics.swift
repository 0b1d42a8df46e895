// Topics: created, listed, described, grown and deleted.

import Model
import Wire

extension ClusterClient {
    /// Creates a topic and returns what the cluster made of it.
    ///
    /// Tried again until `ClientConfiguration.patienceMs` ends. When the answer to an attempt is lost, the next one may
    /// find the topic there and throw `refused` with `topicAlreadyExists`, although this call has made it. With
    /// `validateOnly` the cluster checks the request and makes nothing.
    /// - Throws: `ClientError`; `refused` with `topicAlreadyExists`, `invalidReplicationFactor`, `invalidPartitions`,
    ///   `invalidConfig` or `invalidTopicException` when the cluster does not want it.
    @discardableResult
    public func createTopic(_ new: NewTopic, validateOnly: Bool = false) async throws -> CreatedTopic {
        var topic = CreateTopicsRequest.Topic()
        topic.name = new.name
        topic.numPartitions = new.partitions ?? -1
        topic.replicationFactor = new.replicationFactor ?? -1
        topic.configs = new.configs.sorted { $0.key < $1.key }.map { pair in
            var config = CreateTopicsRequest.Config()
            config.name = pair.key
            config.value = pair.value
            return config
        }
        var request = CreateTopicsRequest()
        request.topics = [topic]
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        request.validateOnly = validateOnly
        let (what, sent) = ("create topic \(new.name)", request)
        return try await retrying(what) {
            let response = try await askController(sent)
            let answer = response.topics.first
            let code = answer?.errorCode ?? .unknownServerError
            guard let answer, code == .none else { throw await refused(what, code, answer?.errorMessage) }
            return CreatedTopic(
                name: new.name, partitions: answer.numPartitions.unlessNegative,
                replicationFactor: answer.replicationFactor.unlessNegative)
        }
    }

    /// Deletes a topic and all its records. Returns when the cluster has decided it; nodes may still name the topic for
    /// a moment.
    /// - Throws: `ClientError`; `noSuchTopic` at once when the controller knows none of this name.
    public func deleteTopic(_ name: String) async throws {
        var request = DeleteTopicsRequest()
        request.topicNames = [name]
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        let (what, sent) = ("delete topic \(name)", request)
        let isThere = try await retrying(what) {
            // Version 6 can name topics by id and needs another form of request.
            let answer = try await askController(sent, maxVersion: 5).topics.first
            let code = answer?.errorCode ?? .unknownServerError
            if code == .unknownTopicOrPartition { return false }
            guard code == .none else { throw await refused(what, code, answer?.errorMessage) }
            return true
        }
        doubt(name)
        guard isThere else { throw ClientError.noSuchTopic(name) }
    }

    /// Gives a topic more partitions: `total` in all. Records with a key may go to another partition from then on.
    /// - Throws: `ClientError`; `noSuchTopic`, or `refused` with `invalidPartitions` unless `total` is more than there
    ///   are.
    public func createPartitions(of topic: String, total: Int32) async throws {
        var entry = CreatePartitionsRequest.Topic()
        entry.name = topic
        entry.count = total
        var request = CreatePartitionsRequest()
        request.topics = [entry]
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        let (what, sent) = ("give topic \(topic) \(total) partitions", request)
        let isThere = try await retrying(what) {
            let answer = try await askController(sent).results.first
            let code = answer?.errorCode ?? .unknownServerError
            if code == .unknownTopicOrPartition { return false }
            guard code == .none else { throw await refused(what, code, answer?.errorMessage) }
            return true
        }
        doubt(topic)
        guard isThere else { throw ClientError.noSuchTopic(topic) }
    }

    /// All topics by name, internal ones included, as one node knows them.
    /// - Throws: `ClientError`.
    public func topics() async throws -> [TopicDescription] {
        try await retrying("list topics") {
            try await refreshMetadata(of: nil).topics.compactMap { TopicDescription($0) }
                .sorted { $0.name < $1.name }
        }
    }

    /// One topic, as one node knows it. A topic that is not known is asked for again for
    /// `ClientConfiguration.newTopicPatienceMs`: it may be new.
    /// - Throws: `ClientError`; `noSuchTopic`.
    public func describeTopic(_ name: String) async throws -> TopicDescription {
        try await retrying("describe topic \(name)") {
            let answer = try await refreshMetadata(of: [name]).topics.first
            if let answer, let topic = TopicDescription(answer) { return topic }
            let code = answer?.errorCode ?? .unknownTopicOrPartition
            if code == .unknownTopicOrPartition { throw ClientError.noSuchTopic(name) }
            throw ClientError.refused(what: "describe topic \(name)", code, message: nil)
        }
    }
}
