// cluster.yaml and the environment, good and bad.

import Broker
import Model
import Server
import Testing

struct ConfigurationTests {
    private static let three = """
        cluster: local
        nodes:
          - {id: 2, host: 10.0.0.2, port: 9092, data: /var/two, rack: b}
          - id: 1
            port: 9092
            data: run/one
            advertised: one.example:19092
          - id: 3
            listeners: PLAINTEXT://0.0.0.0:9094
            advertised.listeners: PLAINTEXT://[::1]:9094
            data: run/three
        defaults:
          num.partitions: 6
          auto.create.topics.enable: false
          broker.session.timeout.ms: 3_000
          log.segment.bytes: 2097152
          max.connections: 50
        """

    private func complaint(_ text: String) -> String {
        do {
            _ = try ClusterFile(parsing: text, path: "c.yaml")
            return "none"
        } catch {
            return error.description
        }
    }

    @Test func nodesAndDefaultsReachTheNode() throws {
        let file = try ClusterFile(parsing: Self.three, path: "etc/c.yaml")
        #expect(file.name == "local")
        #expect(file.nodes.map(\.id) == [1, 2, 3])
        let start = try StartConfiguration(file, nodeID: 1, environment: [:])
        #expect(start.listen == Endpoint(host: "127.0.0.1", port: 9_092))
        #expect(start.node.advertised == Endpoint(host: "one.example", port: 19_092))
        #expect(start.node.dataDirectory == "etc/run/one")
        #expect(start.node.voters[2] == Endpoint(host: "10.0.0.2", port: 9_092))
        #expect(start.node.voters[3] == Endpoint(host: "::1", port: 9_094))
        #expect(start.node.defaultPartitions == 6)
        #expect(!start.node.autoCreateTopics)
        #expect(start.node.timing.sessionTimeoutMs == 3_000)
        #expect(start.node.topicDefaults["log.segment.bytes"] == "2097152")
        #expect(start.connections.connectionsMax == 50)
        #expect(try StartConfiguration(file, nodeID: 2, environment: [:]).node.rack == "b")
        #expect(try StartConfiguration(file, nodeID: 3, environment: [:]).listen.host == "0.0.0.0")
    }

    @Test func theTimingScaleStretchesTimeouts() throws {
        let file = try ClusterFile(parsing: Self.three, path: "c.yaml")
        let start = try StartConfiguration(file, nodeID: 1, environment: ["MARTLET_TIMING_SCALE": "4"])
        #expect(start.node.timing.sessionTimeoutMs == 12_000)
        let failure = #expect(throws: ConfigurationError.self) {
            _ = try StartConfiguration(file, nodeID: 1, environment: ["MARTLET_TIMING_SCALE": "fast"])
        }
        #expect(failure?.description == "MARTLET_TIMING_SCALE: is fast, but must be a whole number from 1 to 1000")
    }

    @Test func anUnknownNodeIsNamed() throws {
        let file = try ClusterFile(parsing: Self.three, path: "c.yaml")
        let failure = #expect(throws: ConfigurationError.self) {
            _ = try StartConfiguration(file, nodeID: 7, environment: [:])
        }
        #expect(failure?.description == "c.yaml: there is no node 7: the file lists 1, 2, 3")
    }

    @Test func everyComplaintNamesItsLine() {
        let node = "nodes:\n  - {id: 1, port: 9092, data: a}\n"
        #expect(complaint(node + "color: red\n") == "c.yaml:3: unknown key color in the file")
        #expect(
            complaint(node + "defaults:\n  num.partition: 3\n")
                == "c.yaml:4: unknown key num.partition in defaults: did you mean num.partitions?")
        #expect(
            complaint(node + "defaults:\n  num.partitions: many\n")
                == "c.yaml:4: num.partitions is many, but must be a whole number from 1 to 10000")
        #expect(
            complaint(node + "defaults:\n  auto.create.topics.enable: yes\n")
                == "c.yaml:4: auto.create.topics.enable is yes, but must be true or false")
        #expect(complaint(node + "  - {id: 1, port: 9093, data: b}\n") == "c.yaml:3: node 1 is listed twice")
        #expect(
            complaint(node + "  - {id: 2, port: 9092, data: b}\n")
                == "c.yaml:3: nodes 1 and 2 have the same address 127.0.0.1:9092")
        #expect(
            complaint(node + "  - {id: 2, port: 9093, data: a}\n")
                == "c.yaml:3: nodes 1 and 2 have the same data directory")
        #expect(complaint("nodes:\n  - {id: 1, port: 9092}\n") == "c.yaml:2: node 1 needs a data directory")
        #expect(complaint("nodes:\n  - {id: 1, data: a, port: 70000}\n").hasPrefix("c.yaml:2: port is 70000, but"))
        #expect(
            complaint("nodes:\n  - {id: 1, data: a, port: 1, advertised: here}\n")
                == "c.yaml:2: advertised is here, but must be host:port (one listener, PLAINTEXT)")
        #expect(complaint("nodes: []\n") == "c.yaml:1: nodes must list at least one node")
        #expect(complaint("") == "c.yaml: the file is empty")
        #expect(complaint("nodes: [\n").hasPrefix("c.yaml:"))
        #expect(complaint(node + "cluster: a\ncluster: b\n").contains("cluster is written twice"))
        #expect(complaint(node + "defaults:\n  default.replication.factor: 2\n").contains("there are 1 nodes"))
        #expect(complaint(node + "defaults:\n  log.roll.ms: 0\n").hasPrefix("c.yaml:4: 0 is no value for segment.ms"))
    }

    @Test func aNodeThatListensEverywhereMustSayItsAddress() throws {
        let everywhere = Endpoint(host: "0.0.0.0", port: 9_092)
        #expect(
            complaint("nodes:\n  - {id: 1, host: 0.0.0.0, port: 9092, data: a}\n").hasPrefix("c.yaml:2: node 1 listens")
        )
        #expect(throws: ConfigurationError.self) {
            _ = try StartConfiguration(
                single: 1, listen: everywhere, advertised: nil, dataDirectory: "d", environment: [:])
        }
        let start = try StartConfiguration(
            single: 1, listen: everywhere, advertised: "here:9092", dataDirectory: "d", environment: [:])
        #expect(start.node.voters[1] == Endpoint(host: "here", port: 9_092))
        #expect(start.listen == everywhere)
    }

    @Test func theProjectsOwnFileIsGood() throws {
        let file = try ClusterFile.load(
            #filePath.replacing("Tests/ServerTests/ConfigurationTests.swift", with: "cluster.yaml"))
        #expect(file.nodes.map(\.listen.port) == [19_092, 19_093, 19_094])
    }

    @Test func timesAreWrittenAsIsoDates() {
        #expect(isoTime(wallMs: 0) == "1970-01-01T00:00:00.000Z")
        #expect(isoTime(wallMs: 951_782_400_007) == "2000-02-29T00:00:00.007Z")
    }
}
