// Settings: changed by IncrementalAlterConfigs, read by DescribeConfigs, acting through EffectiveTopicConfig.

import Metadata
import Model
import Testing
import Wire

@Suite struct ConfigTests {
    @Test func theTableIsInNameOrderAndItsDefaultsAreValid() throws {
        #expect(TopicConfig.all.map(\.name) == TopicConfig.all.map(\.name).sorted())
        for setting in TopicConfig.all where !(setting.defaultValue ?? "").isEmpty {
            try setting.validate(setting.defaultValue ?? "")
        }
    }

    @Test func aTopicsSettingsAreSetAndDeleted() throws {
        var world = ControllerWorld(brokers: 3)
        let id = world.create("a").topicID
        let set = world.alterConfig(
            .topic, "a", [("max.message.bytes", 0, "10"), ("message.timestamp.type", 0, "LogAppendTime")])
        #expect(set.response.responses[0].errorCode == .none && set.records.count == 2)
        let config = try #require(world.controller.image.effectiveConfig(id))
        #expect(config.maxMessageBytes == 10 && config.timestampType == .logAppendTime)
        #expect(world.alterConfig(.topic, "a", [("max.message.bytes", 0, "10")]).records.isEmpty)
        #expect(world.alterConfig(.topic, "a", [("max.message.bytes", 1, nil)]).records.count == 1)
        #expect(world.controller.image.effectiveConfig(id)?.maxMessageBytes == 1_048_588)
    }

    @Test func badChangesAreRefused() {
        var world = ControllerWorld(brokers: 3)
        world.create("a", configs: [("flush.mode", "async")])
        let cases: [(ConfigResourceType, String, String, Int8, String?, ErrorCode)] = [
            (.topic, "b", "retention.ms", 0, "1", .unknownTopicOrPartition),
            (.topic, "a", "nothing", 0, "1", .invalidConfig),
            (.topic, "a", "retention.ms", 0, "x", .invalidConfig),
            (.topic, "a", "retention.ms", 0, nil, .invalidRequest),
            (.topic, "a", "retention.ms", 2, "1", .invalidConfig),
            (.topic, "a", "retention.ms", 7, "1", .invalidRequest),
            (.topic, "a", "cleanup.policy", 2, "compress", .invalidConfig),
            (.topic, "a", "cleanup.policy", 3, "delete", .invalidConfig),
            (.topic, "a", "min.cleanable.dirty.ratio", 0, "1.5", .invalidConfig),
            (.topic, "a", "delete.retention.ms", 0, "-1", .invalidConfig),
            (.topic, "a", "max.compaction.lag.ms", 0, "0", .invalidConfig),
            (.topic, "a", "min.compaction.lag.ms", 0, "-1", .invalidConfig),
            (.topic, "a", "flush.mode", 0, "sync", .invalidConfig),
            (.topic, "a", "flush.mode", 1, nil, .invalidConfig),
            (.broker, "1", "message.max.bytes", 0, "10", .invalidRequest),
            (.broker, "", "num.network.threads", 0, "10", .invalidConfig),
            (.group, "g", "x", 0, "10", .invalidRequest),
        ]
        for (type, name, setting, operation, value, code) in cases {
            let decision = world.alterConfig(type, name, [(setting, operation, value)])
            #expect(decision.response.responses[0].errorCode == code, "\(name) \(setting)")
            #expect(decision.records.isEmpty && decision.response.responses[0].errorMessage?.isEmpty == false)
        }
        let validated = world.alterConfig(.topic, "a", [("retention.ms", 0, "1")], validateOnly: true)
        #expect(validated.records.isEmpty && validated.response.responses[0].errorCode == .none)
    }

    @Test func compactionIsATopicsChoiceAtAnyTime() throws {
        var world = ControllerWorld(brokers: 1)
        let id = world.create("a", factor: 1, configs: [("cleanup.policy", "compact")]).topicID
        func effective() throws -> EffectiveTopicConfig { try #require(world.controller.image.effectiveConfig(id)) }
        #expect(try effective().compacts && !effective().deletes)
        #expect(try effective().deleteRetentionMs == 86_400_000 && effective().minCleanableDirtyRatio == 0.5)
        #expect(try effective().minCompactionLagMs == 0 && effective().maxCompactionLagMs == .max)

        // Appended and taken away again, as a list.
        #expect(world.alterConfig(.topic, "a", [("cleanup.policy", 2, "delete")]).records.count == 1)
        #expect(try effective().compacts && effective().deletes)
        #expect(world.alterConfig(.topic, "a", [("cleanup.policy", 3, "compact")]).records.count == 1)
        #expect(try !effective().compacts && effective().deletes)

        let changes: [(String, Int8, String?)] = [
            ("delete.retention.ms", 0, "7"), ("min.cleanable.dirty.ratio", 0, "0.25"),
            ("min.compaction.lag.ms", 0, "10"), ("max.compaction.lag.ms", 0, "20"),
        ]
        #expect(world.alterConfig(.topic, "a", changes).records.count == 4)
        #expect(try effective().deleteRetentionMs == 7 && effective().minCleanableDirtyRatio == 0.25)
        #expect(try effective().minCompactionLagMs == 10 && effective().maxCompactionLagMs == 20)

        // The two together, whichever is changed.
        for change in [("min.compaction.lag.ms", Int8(0), String?("21")), ("max.compaction.lag.ms", 0, "9")] {
            let refused = world.alterConfig(.topic, "a", [change])
            #expect(refused.response.responses[0].errorCode == .invalidConfig && refused.records.isEmpty)
        }
        #expect(
            world.alterConfig(
                .topic, "a", [("min.compaction.lag.ms", 0, "30"), ("max.compaction.lag.ms", 0, "30")]
            ).records.count == 2)
        #expect(
            world.create(
                "b", factor: 1, configs: [("min.compaction.lag.ms", "2"), ("max.compaction.lag.ms", "1")]
            ).errorCode == .invalidConfig)
    }

    @Test func theClustersDefaultsActBelowATopicsOwnSettings() {
        var settings = ControllerSettings()
        settings.brokerDefaults["message.max.bytes"] = "77"
        var world = ControllerWorld(brokers: 3, settings: settings)
        let id = world.create("a").topicID
        func limit() -> Int? {
            world.controller.image.effectiveConfig(id, brokerDefaults: settings.brokerDefaults)?.maxMessageBytes
        }
        #expect(limit() == 77)
        #expect(world.alterConfig(.broker, "", [("message.max.bytes", 0, "88")]).records.count == 1)
        #expect(limit() == 88)
        #expect(world.alterConfig(.topic, "a", [("max.message.bytes", 0, "99")]).records.count == 1)
        #expect(limit() == 99)
    }

    @Test func theDefaultMinISRFollowsTheReplicationFactor() {
        var world = ControllerWorld(brokers: 3)
        for (factor, required) in [(1, 1), (2, 1), (3, 2)] as [(Int16, Int)] {
            let id = world.create("t\(factor)", factor: factor).topicID
            #expect(world.controller.image.effectiveConfig(id)?.minInSyncReplicas == required)
        }
        #expect(world.controller.image.effectiveConfig(UUID128(high: 9, low: 9)) == nil)
    }

    @Test func describeConfigsTellsValuesAndSources() throws {
        var world = ControllerWorld(brokers: 3)
        world.create("a", configs: [("max.message.bytes", "10")])
        _ = world.alterConfig(.broker, "", [("log.segment.bytes", 0, "2097152")])
        let defaults = SortedMap([("log.roll.ms", "5"), ("listeners", "x")])
        func describe(_ type: Int8, _ name: String, _ keys: [String]?) -> DescribeConfigsResponse.ResourceResult {
            var resource = DescribeConfigsRequest.Resource()
            resource.resourceType = type
            resource.resourceName = name
            resource.configurationKeys = keys
            var request = DescribeConfigsRequest()
            request.resources = [resource]
            request.includeSynonyms = true
            return describeConfigs(request, image: world.controller.image, brokerDefaults: defaults).results[0]
        }
        let all = describe(2, "a", nil).configs
        #expect(all.map(\.name) == TopicConfig.all.filter(\.acts).map(\.name))
        func row(_ name: String) throws -> DescribeConfigsResponse.Config {
            try #require(all.first { $0.name == name })
        }
        let own = try row("max.message.bytes")
        #expect(own.value == "10" && own.configSource == 1 && own.configType == 3)
        #expect(own.synonyms.map(\.source) == [1, 5] && own.documentation == nil)
        let dynamic = try row("segment.bytes")
        #expect(dynamic.value == "2097152" && dynamic.configSource == 3)
        let fixed = try row("segment.ms")
        #expect(fixed.value == "5" && fixed.configSource == 4)
        let required = try row("min.insync.replicas")
        #expect(required.value == "2" && required.configSource == 5)
        #expect(describe(2, "a", ["segment.ms"]).configs.map(\.name) == ["segment.ms"])
        #expect(describe(2, "b", nil).errorCode == .unknownTopicOrPartition)
        #expect(describe(99, "b", nil).errorCode == .invalidRequest)
        #expect(describe(4, "1", nil).configs.map(\.name) == ["listeners", "log.roll.ms", "log.segment.bytes"])
        #expect(describe(4, "1", nil).configs.map(\.readOnly) == [true, false, false])
        #expect(describe(4, "", nil).configs.map(\.name) == ["log.segment.bytes"])
    }
}
