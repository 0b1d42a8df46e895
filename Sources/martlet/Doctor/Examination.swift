// The steps of `martlet doctor`, in the order in which a client meets them.

import Glibc
import MartletClient
import NIOCore

struct Examination {
    let cluster: ClusterClient
    let bootstrap: [BrokerAddress]
    let source: String
    let isReadOnly: Bool
    let isSilent: Bool
    private(set) var checks: [Check] = []
    private var unreachableBootstrap: Set<BrokerAddress> = []

    init(cluster: ClusterClient, bootstrap: [BrokerAddress], source: String, isReadOnly: Bool, isSilent: Bool) {
        self.cluster = cluster
        self.bootstrap = bootstrap
        self.source = source
        self.isReadOnly = isReadOnly
        self.isSilent = isSilent
    }

    private var hasFailed: Bool { checks.contains { $0.outcome == .failed } }

    /// - Throws: `OutputClosed` only: what goes wrong is a check.
    mutating func run() async throws {
        guard try await examineBootstrap() else { return }
        guard let description = try await examineMetadata() else { return }
        let areReachable = try await examineAdvertised(description)
        let hasController = try await examineController(description)
        try await examineHealth()
        guard !isReadOnly else { return try skip("write and read", "--read-only") }
        guard areReachable, hasController else {
            return try skip("write and read", "what failed above comes first")
        }
        try await examineRecords()
    }

    // MARK: The way in

    private mutating func examineBootstrap() async throws -> Bool {
        for address in bootstrap {
            let name = "bootstrap \(address)"
            let timer = Stopwatch()
            switch await reach(address) {
            case nil: try add(name, .ok, "answers, from \(source)", timer)
            case let trouble?:
                unreachableBootstrap.insert(address)
                let isLast = unreachableBootstrap.count == bootstrap.count
                // One address that answers is enough; it is told all the same.
                try add(name, isLast ? .failed : .warning, trouble.reason, timer, fix: trouble.fix)
            }
        }
        guard unreachableBootstrap.count < bootstrap.count else {
            // The first address is the one to mend.
            if let first = checks.indices.first { checks[first].outcome = .failed }
            return false
        }
        return true
    }

    private mutating func examineMetadata() async throws -> ClusterDescription? {
        let timer = Stopwatch()
        do {
            let description = try await cluster.describeCluster()
            let nodes = counted(description.nodes.count, "node")
            guard !description.nodes.isEmpty else {
                let silent = bootstrap.filter { unreachableBootstrap.contains($0) }.map(\.description)
                try add(
                    "metadata", .failed, "the cluster has no nodes: it has not formed yet", timer,
                    fix: silent.isEmpty
                        ? "start every node of cluster.yaml; the log of a node says whom it waits for"
                        : "a cluster forms when each of its nodes reaches every other one at what it advertises, and "
                            + "\(silent.joined(separator: ", ")) does not answer")
                return nil
            }
            try add("metadata", .ok, "cluster \(description.clusterID ?? "without an id"), \(nodes)", timer)
            return description
        } catch {
            try add("metadata", .failed, "\(error)", timer, fix: "see the log of the node that was asked")
            return nil
        }
    }

    /// The addresses that clients are told: each must lead to its node from here.
    private mutating func examineAdvertised(_ description: ClusterDescription) async throws -> Bool {
        var areReachable = true
        var owners: [BrokerAddress: Int32] = [:]
        for node in description.nodes {
            let name = "node \(node.id) at \(node.address)"
            let timer = Stopwatch()
            let setting = "set advertised of node \(node.id) in cluster.yaml (advertised.listeners in Kafka)"
            if let other = owners.updateValue(node.id, forKey: node.address) {
                areReachable = false
                try add(
                    name, .failed, "node \(other) advertises the same address", timer,
                    fix: "\(setting) to an address of its own, and restart it")
                continue
            }
            if node.isFenced {
                try add(
                    name, .warning, "it is registered and out of service", timer,
                    fix: "start node \(node.id), or see its log")
                continue
            }
            if Self.isWildcard(node.address.host) {
                areReachable = false
                try add(
                    name, .failed, "it advertises an address to listen on, which is none to connect to", timer,
                    fix: "\(setting) to HOST:PORT that leads to it from here, and restart it")
                continue
            }
            guard let trouble = await reach(node.address) else {
                if let other = await strangeCluster(at: node.address, than: description) {
                    areReachable = false
                    try add(
                        name, .failed, "it advertises this address, which leads to another cluster, \(other)", timer,
                        fix: "\(setting) to HOST:PORT that leads to it from here, and restart it")
                    continue
                }
                let isElsewhere =
                    Self.isLoopback(node.address.host) && !bootstrap.contains { Self.isLoopback($0.host) }
                try add(
                    name, isElsewhere ? .warning : .ok,
                    isElsewhere ? "answers, but it leads every client to its own machine" : "advertised, answers",
                    timer,
                    fix: isElsewhere ? "\(setting) to HOST:PORT that leads to it from elsewhere" : nil)
                continue
            }
            areReachable = false
            if unreachableBootstrap.contains(node.address) {
                try add(name, .failed, "it advertises this address, and \(trouble.reason)", timer, fix: trouble.fix)
            } else {
                try add(
                    name, .failed, "it advertises this address, and \(trouble.reason)", timer,
                    fix: "if the node runs, \(setting) to HOST:PORT that leads to it from here, and restart it")
            }
        }
        return areReachable
    }

    /// The id of the cluster at `address` when it is another one.
    private func strangeCluster(at address: BrokerAddress, than description: ClusterDescription) async -> String? {
        let other = ClusterClient(bootstrap: [address], configuration: cluster.configuration)
        let found = try? await other.describeCluster().clusterID
        await other.close()
        guard let expected = description.clusterID, let found, found != expected else { return nil }
        return found
    }

    // MARK: How it fares

    private mutating func examineController(_ description: ClusterDescription) async throws -> Bool {
        let timer = Stopwatch()
        let fix = "start the missing nodes: more than half of the voters must run; martlet cluster health"
        do {
            guard let quorum = try await cluster.describeQuorum() else {
                try add("controller", .failed, "the cluster has none now", timer, fix: fix)
                return false
            }
            try add("controller", .ok, "node \(quorum.leader), epoch \(quorum.leaderEpoch)", timer)
            return true
        } catch {
            if let error = error as? ClientError, case .unsupported = error, let controller = description.controller {
                try add("controller", .ok, "node \(controller)", timer)
                return true
            }
            try add("controller", .failed, "\(error)", timer, fix: fix)
            return false
        }
    }

    private mutating func examineHealth() async throws {
        let timer = Stopwatch()
        do {
            let health = try await cluster.health()
            let size = "\(counted(health.topicCount, "topic")), \(counted(health.partitionCount, "partition"))"
            guard !health.isHealthy else { return try add("health", .ok, size, timer) }
            var reasons: [String] = []
            if !health.missingNodes.isEmpty { reasons.append("not registered: \(health.missingNodes.list)") }
            if !health.fencedNodes.isEmpty { reasons.append("fenced: \(health.fencedNodes.list)") }
            for trouble in ClusterHealth.Trouble.allCases where trouble != .leaderAway {
                let count = health.count(of: trouble)
                if count > 0 { reasons.append("\(counted(count, "partition")) \(trouble)") }
            }
            try add(
                "health", .failed, reasons.isEmpty ? "no controller" : reasons.joined(separator: "; "), timer,
                fix: "martlet cluster health shows which; start the nodes that are away")
        } catch {
            try add("health", .failed, "\(error)", timer, fix: "martlet cluster health")
        }
    }

    // MARK: One record there and back

    private mutating func examineRecords() async throws {
        Interrupt.watch()
        let topic = "martlet-doctor-\(getpid())-\(wallClockMs())"
        let timer = Stopwatch()
        do {
            try await cluster.createTopic(NewTopic(name: topic, partitions: 1))
        } catch {
            try add("create topic", .failed, "\(error)", timer, fix: "see the controller's log")
            // The answer may be what was lost, and not the request.
            try? await cluster.deleteTopic(topic)
            return
        }
        let created = Stopwatch()
        // Whatever happens from here on, even to our own output, the topic goes.
        do {
            try add("create topic", .ok, topic, timer)
            try await exchangeRecord(through: topic)
        } catch {
            try? await cluster.deleteTopic(topic)
            throw error
        }
        let deleting = Stopwatch()
        do {
            try await cluster.deleteTopic(topic)
            try add(
                "delete topic", .ok, "\(topic), which stood for \(durationText(ms: created.milliseconds))", deleting)
        } catch {
            try add("delete topic", .failed, "\(error)", deleting, fix: "martlet topics delete \(topic)")
        }
    }

    private mutating func exchangeRecord(through topic: String) async throws {
        let text = "martlet doctor \(wallClockMs())"
        var timer = Stopwatch()
        do {
            try await DoctorRecord.write(text, to: topic, of: cluster)
            try add("produce", .ok, "a record to \(topic)-0, acks=all", timer)
        } catch {
            return try add("produce", .failed, "\(error)", timer, fix: "martlet topics describe \(topic)")
        }
        guard !Interrupt.isSeen else { return try skip("fetch", "Ctrl-C") }
        timer = Stopwatch()
        do {
            let found = try await DoctorRecord.read(from: topic, of: cluster)
            guard found == text else {
                return try add(
                    "fetch", .failed, "another record came back: \((found ?? "none").printable)", timer,
                    fix: "see the log of the partition's leader")
            }
            try add("fetch", .ok, "the same record", timer)
        } catch {
            try add("fetch", .failed, "\(error)", timer, fix: "martlet topics describe \(topic)")
        }
    }

    // MARK: Telling

    private mutating func skip(_ name: String, _ reason: String) throws {
        try show(Check(name: name, outcome: .skipped, detail: reason))
    }

    private mutating func add(
        _ name: String, _ outcome: Check.Outcome, _ detail: String, _ timer: Stopwatch, fix: String? = nil
    ) throws {
        try show(
            Check(name: name, outcome: outcome, detail: detail, fix: fix, milliseconds: timer.milliseconds))
    }

    private mutating func show(_ check: Check) throws {
        checks.append(check)
        guard !isSilent else { return }
        var page = Page(.output)
        check.show(on: &page)
        try StandardOutput.write(page.text)
    }

    private static func isWildcard(_ host: String) -> Bool { host == "0.0.0.0" || host == "::" || host.isEmpty }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }
}

struct Stopwatch {
    private let start = ContinuousClock.now

    var milliseconds: Double { (ContinuousClock.now - start) / .milliseconds(1) }
}
