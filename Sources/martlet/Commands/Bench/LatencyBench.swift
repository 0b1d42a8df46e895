// martlet bench latency: how long one record takes to its acknowledgement and to a consumer, at a steady rate.

import ArgumentParser
import MartletClient
import NIOCore

struct LatencyBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latency", abstract: "Measure produce to acknowledgement and produce to consume at a rate.",
        discussion:
            "Times count from when a record was due, not from when it could be sent, so that a stall is not hidden. "
            + "Half a second of the same load comes before, and is not measured.")

    @OptionGroup var client: ClientOptions
    @OptionGroup var bench: BenchOptions
    @Option(help: "Records a second.") var rate = 1_000.0
    @Option(help: "How long to write.") var seconds = 10
    @Option(help: "all, 1 or 0.") var acks: Produce.Acks = .all
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard rate > 0, rate <= 10_000_000 else { throw ValidationError("--rate must be above 0") }
        guard seconds >= 1 else { throw ValidationError("--seconds must be at least 1") }
        guard bench.size >= 16 else { throw ValidationError("--size must be at least 16") }
    }

    func run() throws {
        let command = self
        Interrupt.watch()
        try client.run(newTopicPatienceMs: 2_000) { cluster in
            try await command.bench.withTopic(cluster) { topic in
                try BenchResult.show(try await command.measure(topic, cluster), command.output)
            }
        }
    }

    private func measure(_ topic: String, _ cluster: ClusterClient) async throws -> [BenchResult] {
        var settings = ProducerConfiguration()
        settings.acks = acks.acks
        settings.compression = bench.compression.compression
        settings.lingerMs = 0
        settings.inFlightPerPartitionMax = 5
        let producer = Producer(cluster, configuration: settings)
        let consumer = Consumer(cluster)
        defer { consumer.close() }
        var values = RandomValues(size: bench.size - 16)
        // Connections, metadata and the consumer's place are no latency, nor is what any first record costs.
        try await producer.send(ProducerRecord(topic: topic, value: values.next()))
        try await consumer.assign(topic: topic, from: .latest)
        for partition in consumer.assignment {
            while consumer.position(of: partition) == nil, !Interrupt.isSeen {
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        let (acknowledged, consumed) = (BenchMeter(), BenchMeter())
        let total = Int(rate * Double(seconds))
        let start = ContinuousClock.now
        let id = UInt64.random(in: 1 ... .max)
        async let reading: Void = read(consumer, id, from: start, total: total, into: consumed)
        try await warmUp(producer, topic, &values)
        var result = try await acknowledged.measure("ack", cluster, isQuiet: bench.quiet) {
            let size = bench.size
            let begin = ContinuousClock.now
            for number in 0..<total {
                let due = begin + .nanoseconds(Int64(Double(number) / rate * 1e9))
                if due > .now { try await Task.sleep(until: due, tolerance: .zero) }
                var value = ByteBuffer()
                value.reserveCapacity(size)
                value.writeInteger(id)
                value.writeInteger((due - start).microseconds)
                value.writeImmutableBuffer(values.next())
                try await producer.submit(ProducerRecord(topic: topic, value: value)) { outcome in
                    switch outcome {
                    case .success:
                        acknowledged.add(records: 1, bytes: size, microseconds: (.now - due).microseconds)
                    case .failure(let error): acknowledged.fail(error)
                    }
                }
                acknowledged.submitted()
                if Interrupt.isSeen || acknowledged.failure != nil { break }
            }
            _ = await Interrupt.close(producer)
        }
        if Interrupt.isSeen || acks == .nobody { consumer.close() }
        try await reading
        result.nodes = nil
        return [result, consumed.result("consume", seconds: result.seconds)]
    }

    /// Half a second of the same load that nobody measures: its records carry no id that the reader looks for.
    private func warmUp(_ producer: Producer, _ topic: String, _ values: inout RandomValues) async throws {
        var pace = Pace(perSecond: rate)
        for _ in 0..<max(10, Int(min(rate, 10_000) / 2)) where !Interrupt.isSeen {
            if let waitMs = pace.next() { try await Task.sleep(for: .milliseconds(waitMs)) }
            var value = ByteBuffer(repeating: 0, count: 16)
            value.writeImmutableBuffer(values.next())
            try await producer.submit(ProducerRecord(topic: topic, value: value))
        }
        await producer.flush()
    }

    private func read(
        _ consumer: Consumer, _ id: UInt64, from start: ContinuousClock.Instant, total: Int, into meter: BenchMeter
    ) async throws {
        while meter.records < total {
            let batch = try await consumer.nextBatch()
            if batch.isEmpty { return }
            let now = ContinuousClock.now
            for record in batch {
                guard let value = record.value, value.getInteger(at: value.readerIndex, as: UInt64.self) == id,
                    let due = value.getInteger(at: value.readerIndex + 8, as: Int64.self)
                else { continue }
                let microseconds = (now - start).microseconds - due
                meter.add(records: 1, bytes: value.readableBytes, microseconds: microseconds)
            }
        }
    }
}
