// Configs of topics and brokers: which thing, which value, and where the value comes from.

/// A thing that has configs.
public enum ConfigResource: Hashable, Sendable, CustomStringConvertible {
    case topic(String)
    /// One broker, by its node id.
    case broker(Int32)
    /// What all brokers share unless one says otherwise: Kafka's dynamic cluster-wide defaults.
    case brokerDefaults

    /// Kafka's number of the kind.
    var type: Int8 {
        switch self {
        case .topic: 2
        case .broker, .brokerDefaults: 4
        }
    }

    var name: String {
        switch self {
        case .topic(let name): name
        case .broker(let id): "\(id)"
        case .brokerDefaults: ""
        }
    }

    public var description: String {
        switch self {
        case .topic(let name): "topic \(name)"
        case .broker(let id): "broker \(id)"
        case .brokerDefaults: "all brokers"
        }
    }
}

/// Where the value of a config comes from, by Kafka's words.
public enum ConfigSource: Hashable, Sendable, CustomStringConvertible {
    /// Set on the topic itself.
    case topic
    /// Set on one broker while it runs.
    case dynamicBroker
    /// Set on all brokers while they run.
    case dynamicDefault
    /// The broker's configuration file.
    case staticBroker
    /// The built-in default.
    case builtIn
    /// A source that this build does not know, by Kafka's number.
    case other(Int8)

    init(_ number: Int8) {
        self =
            switch number {
            case 1: .topic
            case 2: .dynamicBroker
            case 3: .dynamicDefault
            case 4: .staticBroker
            case 5: .builtIn
            default: .other(number)
            }
    }

    public var description: String {
        switch self {
        case .topic: "topic"
        case .dynamicBroker: "dynamic broker"
        case .dynamicDefault: "dynamic default"
        case .staticBroker: "static"
        case .builtIn: "built-in"
        case .other(let number): "source \(number)"
        }
    }
}

/// One config with its value.
public struct ConfigEntry: Equatable, Sendable {
    public var name: String
    /// Nil: none, or not shown because it is a secret.
    public var value: String?
    public var source: ConfigSource
    /// It cannot be changed while the node runs.
    public var isReadOnly: Bool
    public var isSensitive: Bool
    /// One or more sentences, where the node has them and they were asked for.
    public var documentation: String?

    public init(
        name: String, value: String?, source: ConfigSource, isReadOnly: Bool = false, isSensitive: Bool = false,
        documentation: String? = nil
    ) {
        self.name = name
        self.value = value
        self.source = source
        self.isReadOnly = isReadOnly
        self.isSensitive = isSensitive
        self.documentation = documentation
    }
}

/// A change of one config.
public enum ConfigChange: Equatable, Sendable {
    case set(String, to: String)
    /// Back to what holds without it.
    case delete(String)
}
