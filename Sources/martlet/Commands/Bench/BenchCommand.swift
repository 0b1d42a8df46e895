// martlet bench: how fast a cluster takes and gives records, measured from this machine.

import ArgumentParser
import MartletClient

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure throughput, latency and failover of a cluster.",
        discussion:
            "Without a subcommand: the usual first benchmark, 500,000 records of 1,000 bytes with acks=1 to one "
            + "partition, then consumed.\n\n"
            + "Client and nodes share the machine when the nodes are local, so quote ratios from one run. A node's CPU "
            + "seconds per GB are measured where its process is on this machine.",
        subcommands: [FirstBench.self, ProduceBench.self, ConsumeBench.self, LatencyBench.self, FailoverBench.self],
        defaultSubcommand: FirstBench.self)
}

/// What the benchmarks share.
struct BenchOptions: ParsableArguments {
    @Option(help: "Use this topic and leave it there. Else one is made and deleted afterwards.") var topic: String?
    @Option(help: "Bytes of a record's value.") var size = 1_000
    @Option(help: "none, gzip, snappy, lz4 or zstd.") var compression: Produce.Codec = .none
    @Option(help: "Partitions of the topic that is made.") var partitions: Int32 = 1
    @Option(help: "Copies of each partition of the topic that is made. Default: the cluster's.")
    var replicationFactor: Int16?
    @Option(name: .customLong("config"), help: "A config of the topic that is made, as key=value (flush.mode=async).")
    var configs: [String] = []
    @Flag(name: .shortAndLong, help: "No progress lines.") var quiet = false

    func validate() throws {
        guard (1...100_000_000).contains(size) else { throw ValidationError("--size must be 1 to 100000000") }
        guard partitions >= 1 else { throw ValidationError("--partitions must be at least 1") }
        for config in configs where !config.contains("=") || config.hasPrefix("=") {
            throw ValidationError("'\(config)' is no config: write key=value")
        }
    }

    /// Runs `body` with the topic, and deletes it afterwards if it was made here.
    func withTopic(_ cluster: ClusterClient, _ body: (String) async throws -> Void) async throws {
        if let topic { return try await body(topic) }
        var new = NewTopic(name: "martlet-bench-\(String(UInt32.random(in: 0 ... .max), radix: 36))")
        new.partitions = partitions
        new.replicationFactor = replicationFactor
        for config in configs {
            let halves = config.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            new.configs[String(halves[0])] = String(halves[1])
        }
        try await cluster.createTopic(new)
        let name = new.name
        Interrupt.account { "topic \(name) is left: martlet topics delete \(name)" }
        do {
            try await body(new.name)
        } catch {
            try? await cluster.deleteTopic(new.name)
            throw error
        }
        try await cluster.deleteTopic(new.name)
    }
}

/// The usual first benchmark.
struct FirstBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "first", abstract: "500,000 records of 1,000 bytes, acks=1, one partition; then consume them.")

    @OptionGroup var client: ClientOptions
    @OptionGroup var bench: BenchOptions
    @Option(help: "Records to write and read.") var records = 500_000
    @Option(help: "all, 1 or 0.") var acks: Produce.Acks = .leader
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard records >= 1 else { throw ValidationError("--records must be at least 1") }
    }

    func run() throws {
        let command = self
        Interrupt.watch()
        try client.run(newTopicPatienceMs: 2_000) { cluster in
            try await command.bench.withTopic(cluster) { topic in
                let load = ProduceLoad(
                    topic: topic, records: command.records, size: command.bench.size, acks: command.acks.acks,
                    compression: command.bench.compression.compression)
                var results = [try await load.run(cluster, isQuiet: command.bench.quiet)]
                if !results[0].isCut {
                    let reading = ConsumeLoad(topic: topic, records: results[0].records)
                    try await reading.waitUntilReadable(cluster, isQuiet: command.bench.quiet)
                    results.append(try await reading.run(cluster, isQuiet: command.bench.quiet))
                }
                try BenchResult.show(results, command.output)
            }
        }
    }
}

struct ProduceBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "produce", abstract: "Write records as fast as they are taken, or at a rate.")

    @OptionGroup var client: ClientOptions
    @OptionGroup var bench: BenchOptions
    @Option(help: "Records to write.") var records = 500_000
    @Option(help: "At most this many records a second.") var rate: Double?
    @Option(help: "all, 1 or 0.") var acks: Produce.Acks = .all
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard records >= 1 else { throw ValidationError("--records must be at least 1") }
        if let rate, !(rate > 0) { throw ValidationError("--rate must be more than 0") }
    }

    func run() throws {
        let command = self
        Interrupt.watch()
        try client.run(newTopicPatienceMs: 2_000) { cluster in
            try await command.bench.withTopic(cluster) { topic in
                var load = ProduceLoad(
                    topic: topic, records: command.records, size: command.bench.size, acks: command.acks.acks,
                    compression: command.bench.compression.compression)
                load.rate = command.rate
                try BenchResult.show([try await load.run(cluster, isQuiet: command.bench.quiet)], command.output)
            }
        }
    }
}

struct ConsumeBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consume", abstract: "Read records from the beginning of a topic.",
        discussion: "Without --topic, a topic is made and filled first; that is not measured.")

    @OptionGroup var client: ClientOptions
    @OptionGroup var bench: BenchOptions
    @Option(help: "Records to read. Default: 500,000 of a topic that is made, else all that there are.")
    var records: Int?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let records, records < 1 { throw ValidationError("--records must be at least 1") }
    }

    func run() throws {
        let command = self
        Interrupt.watch()
        try client.run(newTopicPatienceMs: 2_000) { cluster in
            try await command.bench.withTopic(cluster) { topic in
                var count = command.records ?? 500_000
                let isQuiet = command.bench.quiet
                if command.bench.topic == nil {
                    let fill = ProduceLoad(
                        topic: topic, records: count, size: command.bench.size, acks: .leader,
                        compression: command.bench.compression.compression)
                    let filled = try await fill.run(cluster, isQuiet: true)
                    guard !filled.isCut else { throw CommandFailure("ended by Ctrl-C before there was what to read") }
                    count = filled.records
                    try await ConsumeLoad(topic: topic, records: count).waitUntilReadable(cluster, isQuiet: isQuiet)
                } else {
                    let held = try await ConsumeLoad.count(topic, cluster)
                    if held == 0 {
                        throw CommandFailure("topic \(topic) is empty: martlet bench produce --topic \(topic)")
                    }
                    if let wanted = command.records, wanted > held {
                        printToStandardError("topic \(topic) holds only \(counted(held, "record")): read to its end")
                    }
                    count = min(command.records ?? held, held)
                }
                let load = ConsumeLoad(topic: topic, records: count)
                try BenchResult.show([try await load.run(cluster, isQuiet: isQuiet)], command.output)
            }
        }
    }
}
