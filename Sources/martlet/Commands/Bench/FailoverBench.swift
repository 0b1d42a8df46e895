// martlet bench failover: how long no record is acknowledged when the leader of a partition goes away.

import ArgumentParser
import Glibc
import MartletClient
import NIOCore
import Synchronization

struct FailoverBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover", abstract: "Measure the gap between acknowledged records while a leader dies.",
        discussion:
            "Writes one record after the other to one partition and shows the longest gaps. By itself it harms "
            + "nothing: kill a node meanwhile, for example with `make kill NODE=2`. With --kill or --pause it ends or "
            + "freezes the leader itself, where the leader's process is on this machine.")

    @OptionGroup var client: ClientOptions
    @Option(help: "Use this topic and leave it there. Else one is made and deleted afterwards.") var topic: String?
    @Option(help: "How long to write, each round.") var seconds = 10
    @Option(help: "How often to do it all.") var rounds = 1
    @Flag(help: "Send SIGKILL to the leader's process after a second of each round.") var kill = false
    @Flag(help: "Send SIGSTOP to the leader's process after a second, and SIGCONT at the end of the round.")
    var pause = false
    @Option(help: "A shell command run at the end of each round, with {node} replaced: 'make start NODE={node}'.")
    var restart: String?
    @Flag(name: .shortAndLong, help: "No progress lines.") var quiet = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard seconds >= 2 else { throw ValidationError("--seconds must be at least 2") }
        guard rounds >= 1 else { throw ValidationError("--rounds must be at least 1") }
        if kill, pause { throw ValidationError("--kill and --pause exclude each other") }
    }

    struct Round {
        var acknowledged: Int
        var gapMs: Double
        var node: Int32?

        var json: Json {
            .object(["acknowledged": acknowledged.json, "longestGapMs": gapMs.json, "node": node.json])
        }
    }

    func run() throws {
        let command = self
        Interrupt.watch()
        try client.run(newTopicPatienceMs: 2_000) { cluster in
            var bench = try BenchOptions.parse(["--partitions", "1"])
            bench.topic = command.topic
            try await bench.withTopic(cluster) { topic in
                var rounds: [Round] = []
                for number in 1...command.rounds where !Interrupt.isSeen {
                    let round = try await command.round(topic, cluster)
                    rounds.append(round)
                    if !command.quiet {
                        printToStandardError(
                            "round \(number): longest gap \(fixed(round.gapMs, 1)) ms, "
                                + "\(grouped(round.acknowledged)) records acknowledged")
                    }
                }
                try command.show(rounds)
            }
        }
    }

    private func round(_ topic: String, _ cluster: ClusterClient) async throws -> Round {
        let producer = Producer(cluster)
        try await producer.send(ProducerRecord(topic: topic, value: "first"))
        let end = ContinuousClock.now + .seconds(seconds)
        let blow = Task { try await strike(topic, cluster) }
        var (last, gap, count) = (ContinuousClock.now, Duration.zero, 0)
        while ContinuousClock.now < end, !Interrupt.isSeen {
            try await producer.send(ProducerRecord(topic: topic, value: "\(count)"))
            let now = ContinuousClock.now
            gap = max(gap, now - last)
            (last, count) = (now, count + 1)
        }
        _ = await Interrupt.close(producer)
        let struck = try await blow.value
        if let struck { try await revive(struck.node, struck.pid, cluster) }
        return Round(acknowledged: count, gapMs: Double(gap.microseconds) / 1_000, node: struck?.node)
    }

    /// Ends or freezes the leader of the topic's partition after a second. Returns who it was.
    private func strike(_ topic: String, _ cluster: ClusterClient) async throws -> (node: Int32, pid: pid_t)? {
        guard kill || pause else { return nil }
        try await Task.sleep(for: .seconds(1))
        let leader = try await cluster.describeTopic(topic).partitions.first?.leader
        guard let leader, let pid = try await LocalNodes.find(of: cluster)?.pids[leader] else {
            throw CommandFailure(
                "the leader of \(topic) is no process on this machine: kill it by hand, without --kill")
        }
        guard Glibc.kill(pid, kill ? SIGKILL : SIGSTOP) == 0 else {
            throw CommandFailure("cannot signal process \(pid) of node \(leader): \(String(cString: strerror(errno)))")
        }
        if !quiet { printToStandardError("\(kill ? "killed" : "paused") node \(leader), process \(pid)") }
        return (leader, pid)
    }

    /// Brings the node back and waits until all is in sync, so that the next round can take another.
    private func revive(_ node: Int32, _ pid: pid_t, _ cluster: ClusterClient) async throws {
        if pause { Glibc.kill(pid, SIGCONT) }
        if let restart {
            let command = restart.split(separator: "{node}", omittingEmptySubsequences: false).joined(
                separator: "\(node)")
            try shell(command)
        }
        guard pause || restart != nil else { return }
        let deadline = ContinuousClock.now + .seconds(client.patience)
        while ContinuousClock.now < deadline, !Interrupt.isSeen {
            if let health = try? await cluster.health(), health.isHealthy { return }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func shell(_ command: String) throws {
        var pid: pid_t = 0
        let words: [String] = ["sh", "-c", command]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { word in strdup(word) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        guard posix_spawn(&pid, "/bin/sh", nil, nil, &arguments, environ) == 0 else {
            throw CommandFailure("cannot run '\(command)': \(String(cString: strerror(errno)))")
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else { throw CommandFailure("'\(command)' failed") }
    }

    private func show(_ rounds: [Round]) throws {
        let gaps = rounds.map(\.gapMs).sorted()
        let document = Json.object([
            "cut": Interrupt.isSeen.json, "rounds": .array(rounds.map(\.json)),
            "medianGapMs": (gaps.isEmpty ? 0 : gaps[gaps.count / 2]).json,
            "longestGapMs": (gaps.last ?? 0).json,
        ])
        try output.show(document) { page in
            var table = Table(.right("round"), .right("acknowledged"), .right("longest gap ms"), .left("struck"))
            for (number, round) in rounds.enumerated() {
                table.add(
                    Cell(number + 1), Cell(grouped(round.acknowledged)), Cell(fixed(round.gapMs, 1)),
                    Cell(round.node.map { "node \($0)" } ?? "-"))
            }
            page.table(table)
        }
        if Interrupt.isSeen { throw CommandFailure("cut short by Ctrl-C, in round \(max(1, gaps.count))") }
    }
}
