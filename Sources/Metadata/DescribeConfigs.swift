// DescribeConfigs, a read on the image: every setting with its value and where that comes from.

import Model
import Wire

/// Kafka's codes of where a setting's value comes from.
package enum ConfigSource: Int8, Sendable {
    case topic = 1
    case dynamicDefaultBroker = 3
    case staticBroker = 4
    case `default` = 5
}

/// - Parameter brokerDefaults: the settings of this node's configuration file under their broker names.
package func describeConfigs(
    _ request: DescribeConfigsRequest, image: MetadataImage, brokerDefaults: SortedMap<String, String>
) -> DescribeConfigsResponse {
    var response = DescribeConfigsResponse()
    for resource in request.resources {
        var result = DescribeConfigsResponse.ResourceResult()
        result.resourceType = resource.resourceType
        result.resourceName = resource.resourceName
        switch ConfigResourceType(rawValue: resource.resourceType) {
        case .topic:
            if image.topicID(named: resource.resourceName) != nil {
                result.configs = image.describedTopicConfigs(resource.resourceName, brokerDefaults: brokerDefaults)
            } else {
                let valid = isValidTopicName(resource.resourceName)
                result.errorCode = valid ? .unknownTopicOrPartition : .invalidTopicException
                result.errorMessage = "There is no topic '\(resource.resourceName)'."
            }
        case .broker:
            result.configs = image.describedBrokerConfigs(resource.resourceName, brokerDefaults: brokerDefaults)
        default:
            result.errorCode = .invalidRequest
            result.errorMessage = "Resource type \(resource.resourceType) has no settings here."
        }
        if let keys = resource.configurationKeys { result.configs.removeAll { !keys.contains($0.name) } }
        for index in result.configs.indices {
            if !request.includeSynonyms { result.configs[index].synonyms = [] }
            if !request.includeDocumentation { result.configs[index].documentation = nil }
        }
        response.results.append(result)
    }
    return response
}

extension MetadataImage {
    /// Every topic setting in name order, with synonyms and documentation.
    func describedTopicConfigs(
        _ topic: String, brokerDefaults: SortedMap<String, String>
    ) -> [DescribeConfigsResponse.Config] {
        let own = config(.topic, topic)
        let cluster = configs[.clusterDefaults] ?? SortedMap()
        let factor = self.topic(named: topic)?.replicationFactor ?? 0
        let required = EffectiveTopicConfig.defaultMinInSyncReplicas(replicationFactor: factor)
        // Only settings that act are told: a value without effect would be read as a promise.
        return TopicConfig.all.filter(\.acts).map { setting in
            var synonyms: [DescribeConfigsResponse.Synonym] = []
            func add(_ name: String, _ value: String?, _ source: ConfigSource) {
                guard let value else { return }
                var synonym = DescribeConfigsResponse.Synonym()
                synonym.name = name
                synonym.value = value
                synonym.source = source.rawValue
                synonyms.append(synonym)
            }
            add(setting.name, own[setting.name], .topic)
            if let synonym = setting.brokerSynonym, setting.acts {
                add(synonym, cluster[synonym], .dynamicDefaultBroker)
                add(synonym, brokerDefaults[synonym], .staticBroker)
            }
            add(setting.brokerSynonym ?? setting.name, setting.defaultValue ?? String(required), .default)
            return described(setting.name, setting.kind, setting.documentation, synonyms)
        }
    }

    /// The configuration file's settings, which cannot be changed while running, and the cluster's dynamic defaults.
    /// For the broker named ""
    /// only the latter, as Kafka does.
    func describedBrokerConfigs(
        _ broker: String, brokerDefaults: SortedMap<String, String>
    ) -> [DescribeConfigsResponse.Config] {
        let cluster = configs[.clusterDefaults] ?? SortedMap()
        var names = cluster
        if !broker.isEmpty { for (name, value) in brokerDefaults { names[name] = value } }
        return names.keys.map { name in
            var synonyms: [DescribeConfigsResponse.Synonym] = []
            for (values, source) in [(cluster, ConfigSource.dynamicDefaultBroker), (brokerDefaults, .staticBroker)] {
                guard let value = values[name] else { continue }
                var synonym = DescribeConfigsResponse.Synonym()
                synonym.name = name
                synonym.value = value
                synonym.source = source.rawValue
                synonyms.append(synonym)
            }
            let setting = TopicConfig.all.first { $0.acts && $0.brokerSynonym == name }
            var config = described(name, setting?.kind ?? .string, setting?.documentation, synonyms)
            config.readOnly = setting == nil
            return config
        }
    }

    /// The first synonym is the one that counts.
    private func described(
        _ name: String, _ kind: TopicConfig.Kind, _ documentation: String?,
        _ synonyms: [DescribeConfigsResponse.Synonym]
    ) -> DescribeConfigsResponse.Config {
        var config = DescribeConfigsResponse.Config()
        config.name = name
        config.value = synonyms.first?.value
        config.configSource = synonyms.first?.source ?? ConfigSource.default.rawValue
        config.synonyms = synonyms
        config.configType = kind.rawValue
        config.documentation = documentation
        return config
    }
}
