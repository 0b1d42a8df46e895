// cluster.yaml: the nodes of a cluster and the defaults of all of them.

import Broker
import Glibc
import Model
import Yams

/// The file as it is written, checked. Every node of the cluster is started with the same file and its own id.
package struct ClusterFile: Sendable {
    package struct Node: Equatable, Sendable {
        package var id: NodeID
        /// Where it listens.
        package var listen: Endpoint
        /// What clients and other nodes are told.
        package var advertised: Endpoint
        /// Absolute, or relative to the working directory: what the file says is relative to the file.
        package var dataDirectory: String
        package var rack: String?
    }

    package var path: String
    package var name: String?
    /// By id.
    package var nodes: [Node]
    package var defaults: ClusterDefaults

    package static func load(_ path: String) throws(ConfigurationError) -> ClusterFile {
        guard let text = readWholeFile(path) else {
            throw ConfigurationError(path, line: nil, "cannot be read: \(reason(errno: errno))")
        }
        return try ClusterFile(parsing: text, path: path)
    }

    package init(parsing text: String, path: String) throws(ConfigurationError) {
        let composed: Yams.Node?
        do {
            composed = try Yams.compose(yaml: text)
        } catch {
            throw Self.complaint(about: error, path: path)
        }
        guard let composed else { throw ConfigurationError(path, line: nil, "the file is empty") }
        let root = try YamlMapping(composed, "the file", file: path)
        try root.rejectUnknown(["cluster", "nodes", "defaults"], in: "the file")
        self.path = path
        name = try root.string("cluster")
        nodes = []
        guard case .sequence(let listed)? = root.value("nodes"), !listed.isEmpty else {
            throw root.complaint("nodes", "nodes must list at least one node")
        }
        for entry in listed {
            let mapping = try YamlMapping(entry, "a node", file: path)
            let node = try Self.node(mapping)
            if nodes.contains(where: { $0.id == node.id }) {
                throw mapping.complaint("id", "node \(node.id) is listed twice")
            }
            if let other = nodes.first(where: { $0.advertised == node.advertised }) {
                throw mapping.complaint(
                    "port", "nodes \(other.id) and \(node.id) have the same address \(node.advertised)")
            }
            if let other = nodes.first(where: { $0.dataDirectory == node.dataDirectory }) {
                throw mapping.complaint("data", "nodes \(other.id) and \(node.id) have the same data directory")
            }
            nodes.append(node)
        }
        nodes.sort { $0.id < $1.id }
        defaults = ClusterDefaults()
        if let given = root.value("defaults") {
            defaults = try ClusterDefaults(YamlMapping(given, "defaults", file: path))
        }
        if let factor = defaults.replicationFactor, Int(factor) > nodes.count {
            throw ConfigurationError(
                path, line: nil, "default.replication.factor is \(factor), but there are \(nodes.count) nodes")
        }
    }

    private static let nodeKeys = [
        "id", "host", "port", "data", "rack", "advertised", "listeners", "advertised.listeners",
    ]

    private static func node(_ mapping: YamlMapping) throws(ConfigurationError) -> Node {
        try mapping.rejectUnknown(nodeKeys, in: "a node")
        guard let id = try mapping.integer("id", in: 1...Int64(Int32.max)) else {
            throw mapping.complaint("id", "a node needs an id")
        }
        let listen: Endpoint
        if let listener = try mapping.endpoint("listeners") {
            if mapping.value("host") != nil || mapping.value("port") != nil {
                throw mapping.complaint("listeners", "node \(id) has both listeners and host or port: give one of them")
            }
            listen = listener
        } else {
            guard let port = try mapping.integer("port", in: 1...65_535) else {
                throw mapping.complaint("port", "node \(id) needs a port")
            }
            listen = Endpoint(host: try mapping.string("host") ?? "127.0.0.1", port: UInt16(port))
        }
        var advertised = try mapping.endpoint("advertised")
        if advertised == nil { advertised = try mapping.endpoint("advertised.listeners") }
        if advertised == nil, listen.isWildcard {
            throw mapping.complaint(
                "host", "node \(id) listens on every address (\(listen.host)): say with advertised which one others use"
            )
        }
        guard let data = try mapping.string("data") else {
            throw mapping.complaint("data", "node \(id) needs a data directory")
        }
        return Node(
            id: Int32(id), listen: listen, advertised: advertised ?? listen,
            dataDirectory: data.hasPrefix("/") ? data : beside(mapping.file, data), rack: try mapping.string("rack"))
    }

    /// A path of the file, seen from the working directory.
    private static func beside(_ file: String, _ path: String) -> String {
        guard let slash = file.lastIndex(of: "/") else { return path }
        return file[...slash] + path
    }

    private static func complaint(about error: any Error, path: String) -> ConfigurationError {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return ConfigurationError(path, line: mark.line, "is not YAML here: \(problem)")
        case .duplicatedKeysInMapping(let keys, let context):
            return ConfigurationError(path, line: context.mark.line, "\(keys.joined(separator: ", ")) is written twice")
        default:
            return ConfigurationError(path, line: nil, "is not YAML: \(error)")
        }
    }
}

extension Endpoint {
    /// Every address of the machine: good to listen on, not to connect to.
    var isWildcard: Bool { host == "0.0.0.0" || host == "::" }
}

/// Nil and `errno` when it cannot be read.
private func readWholeFile(_ path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(file, &part, part.count)
        if count < 0 { return nil }
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes.append(contentsOf: part[..<count])
    }
}
