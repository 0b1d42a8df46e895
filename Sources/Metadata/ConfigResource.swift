// What a setting belongs to: Kafka's ConfigResource.

/// Kafka's codes of the resources that hold settings.
package enum ConfigResourceType: Int8, Hashable, Comparable, Sendable {
    case topic = 2
    case broker = 4
    case brokerLogger = 8
    case clientMetrics = 16
    case group = 32

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// A named holder of settings. The broker named "" stands for the defaults of the whole cluster.
package struct ConfigResource: Hashable, Comparable, Sendable {
    package var type: ConfigResourceType
    package var name: String

    package init(_ type: ConfigResourceType, _ name: String) {
        self.type = type
        self.name = name
    }

    package static let clusterDefaults = ConfigResource(.broker, "")

    package static func < (a: Self, b: Self) -> Bool { a.type == b.type ? a.name < b.name : a.type < b.type }
}
