// Configs: read with their sources, and changed one by one.

import Model
import Wire

extension ClusterClient {
    /// All configs of a topic or broker, by name, with where each value comes from.
    /// - Throws: `ClientError`; `noSuchTopic`.
    public func configs(
        of resource: ConfigResource, includingDocumentation: Bool = false
    ) async throws -> [ConfigEntry] {
        let found = try await configs(of: [resource], includingDocumentation: includingDocumentation)
        return found[resource] ?? []
    }

    /// Configs of several things at once, by name; `names` picks some.
    /// - Throws: `ClientError`; `noSuchTopic` when one of the topics is not there.
    public func configs(
        of resources: [ConfigResource], named names: [String]? = nil, includingDocumentation: Bool = false
    ) async throws -> [ConfigResource: [ConfigEntry]] {
        // Only a broker itself knows its file; topics and shared defaults any node can tell.
        var byNode: [Int32?: [ConfigResource]] = [:]
        for resource in resources { byNode[Self.owner(of: resource), default: []].append(resource) }
        var found: [ConfigResource: [ConfigEntry]] = [:]
        for (node, group) in byNode {
            // One frame takes many topics, but not all of a large cluster.
            for start in stride(from: 0, to: group.count, by: 500) {
                let part = Array(group[start..<min(start + 500, group.count)])
                let some = try await describeConfigs(part, of: node, names, includingDocumentation)
                found.merge(some) { first, _ in first }
            }
        }
        return found
    }

    private static func owner(of resource: ConfigResource) -> Int32? {
        if case .broker(let id) = resource { id } else { nil }
    }

    private func describeConfigs(
        _ resources: [ConfigResource], of node: Int32?, _ names: [String]?, _ includingDocumentation: Bool
    ) async throws -> [ConfigResource: [ConfigEntry]] {
        var request = DescribeConfigsRequest()
        request.includeDocumentation = includingDocumentation
        request.resources = resources.map { resource in
            var entry = DescribeConfigsRequest.Resource()
            entry.resourceType = resource.type
            entry.resourceName = resource.name
            entry.configurationKeys = names
            return entry
        }
        let sent = request
        return try await retrying("describe configs") {
            let results = try await ask(sent, of: node).results
            var found: [ConfigResource: [ConfigEntry]] = [:]
            for resource in resources {
                let answer = results.first {
                    $0.resourceType == resource.type && $0.resourceName == resource.name
                }
                let code = answer?.errorCode ?? .unknownServerError
                if code == .unknownTopicOrPartition { throw ClientError.noSuchTopic(resource.name) }
                guard let answer, code == .none else {
                    throw ClientError.refused(
                        what: "describe the configs of \(resource)", code, message: answer?.errorMessage)
                }
                found[resource] = answer.configs.map { ConfigEntry($0) }.sorted { $0.name < $1.name }
            }
            return found
        }
    }

    /// Changes configs of a topic or broker: all of `changes`, or none when one is refused. Other configs stay as they
    /// are (IncrementalAlterConfigs, KIP-339). With `validateOnly` the cluster checks the changes and makes none.
    /// - Throws: `ClientError`; `noSuchTopic`, or `refused` with `invalidConfig` and the cluster's own sentence.
    public func alterConfigs(
        of resource: ConfigResource, _ changes: [ConfigChange], validateOnly: Bool = false
    ) async throws {
        guard !changes.isEmpty else { return }
        var entry = IncrementalAlterConfigsRequest.Resource()
        entry.resourceType = resource.type
        entry.resourceName = resource.name
        entry.configs = changes.map { change in
            var config = IncrementalAlterConfigsRequest.Config()
            switch change {
            case .set(let name, let value): (config.name, config.configOperation, config.value) = (name, 0, value)
            case .delete(let name): (config.name, config.configOperation) = (name, 1)
            }
            return config
        }
        var request = IncrementalAlterConfigsRequest()
        request.resources = [entry]
        request.validateOnly = validateOnly
        let (what, sent) = ("change the configs of \(resource)", request)
        let isThere = try await retrying(what) {
            let response =
                if let node = Self.owner(of: resource) { try await ask(sent, of: node) } else {
                    try await askController(sent)
                }
            let answer = response.responses.first
            let code = answer?.errorCode ?? .unknownServerError
            if code == .unknownTopicOrPartition { return false }
            guard code == .none else { throw await refused(what, code, answer?.errorMessage) }
            return true
        }
        guard isThere else { throw ClientError.noSuchTopic(resource.name) }
    }
}

extension ConfigEntry {
    init(_ config: DescribeConfigsResponse.Config) {
        self.init(
            name: config.name, value: config.isSensitive ? nil : config.value,
            source: ConfigSource(config.configSource), isReadOnly: config.readOnly, isSensitive: config.isSensitive,
            documentation: config.documentation)
    }
}
