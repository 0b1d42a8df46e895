// The loads that benchmarks put on a cluster.

import MartletClient
import NIOCore

/// Values of one size out of a store of random letters, so that making a record costs the benchmark nothing.
struct RandomValues {
    private let store: ByteBuffer
    private let size: Int
    private var at = 0
    private static let storeBytes = 1 << 20

    init(size: Int) {
        self.size = size
        var random = SystemRandomNumberGenerator()
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var store = ByteBuffer()
        store.reserveCapacity(Self.storeBytes + size)
        while store.readableBytes < Self.storeBytes + size {
            var word = random.next()
            for _ in 0..<10 {
                store.writeInteger(letters[Int(word & 63)])
                word >>= 6
            }
        }
        self.store = store
    }

    mutating func next() -> ByteBuffer {
        at = (at &+ 7_919) & (Self.storeBytes - 1)
        return store.getSlice(at: at, length: size) ?? store
    }
}

struct ProduceLoad {
    var topic: String
    var records: Int
    var size: Int
    var acks: ProducerConfiguration.Acks
    var compression: CompressionCodec
    var rate: Double?

    func run(_ cluster: ClusterClient, isQuiet: Bool) async throws -> BenchResult {
        var settings = ProducerConfiguration()
        settings.acks = acks
        settings.compression = compression
        settings.recordBytesMax = max(settings.recordBytesMax, size + 1_000)
        // As many as Kafka's own clients and its benchmark have on their way.
        settings.inFlightPerPartitionMax = 5
        let producer = Producer(cluster, configuration: settings)
        let meter = BenchMeter()
        var values = RandomValues(size: size)
        // Connections and metadata are no throughput: the first record brings them. It counts, its time does not.
        let isWarm = records > 1
        if isWarm {
            try await producer.send(ProducerRecord(topic: topic, value: values.next()))
            meter.submitted()
            meter.add(records: 1, bytes: size)
        }
        return try await meter.measure("produce", cluster, isQuiet: isQuiet) {
            var pace = Pace(perSecond: rate)
            let size = size
            for _ in 0..<(isWarm ? records - 1 : records) {
                if let waitMs = pace.next() { try await Task.sleep(for: .milliseconds(waitMs)) }
                let start = ContinuousClock.now
                try await producer.submit(ProducerRecord(topic: topic, value: values.next())) { result in
                    switch result {
                    case .success:
                        meter.add(records: 1, bytes: size, microseconds: (ContinuousClock.now - start).microseconds)
                    case .failure(let error): meter.fail(error)
                    }
                }
                meter.submitted()
                if Interrupt.isSeen || meter.failure != nil { break }
            }
            _ = await Interrupt.close(producer)
        }
    }
}

struct ConsumeLoad {
    var topic: String
    var records: Int

    func run(_ cluster: ClusterClient, isQuiet: Bool) async throws -> BenchResult {
        let consumer = Consumer(cluster)
        defer { consumer.close() }
        let meter = BenchMeter()
        return try await meter.measure("consume", cluster, isQuiet: isQuiet) {
            try await consumer.assign(topic: topic, from: .earliest)
            let ends = try await Self.ends(topic, cluster)
            // Fewer records than offsets, in a topic that was compacted or written by transactions.
            func isAtEnd() -> Bool {
                ends.allSatisfy { consumer.position(of: TopicPartition(topic, $0.partition)) ?? -1 >= $0.offset ?? 0 }
            }
            while meter.records < records, !Interrupt.isSeen, !isAtEnd() {
                let batch = try await consumer.nextBatch(countMax: records - meter.records, waitMs: 100)
                let bytes = batch.reduce(0) { $0 + ($1.key?.readableBytes ?? 0) + ($1.value?.readableBytes ?? 0) }
                meter.add(records: batch.count, bytes: bytes)
            }
        }
    }

    private static func ends(_ topic: String, _ cluster: ClusterClient) async throws -> [PartitionOffset] {
        try await cluster.offsets(of: topic, at: .latest)
    }

    /// Offsets between the oldest record and the end of what consumers may read.
    static func count(_ topic: String, _ cluster: ClusterClient) async throws -> Int {
        let first = try await cluster.offsets(of: topic, at: .earliest)
        let last = try await ends(topic, cluster)
        return zip(first, last).reduce(0) { $0 + Int(($1.1.offset ?? 0) - ($1.0.offset ?? 0)) }
    }

    /// With acks=1 the other replicas may yet have to copy what was written, and until they have it nobody reads it:
    /// to measure reading at once would be to measure them.
    func waitUntilReadable(_ cluster: ClusterClient, isQuiet: Bool) async throws {
        let start = ContinuousClock.now
        var hasSaidSo = isQuiet
        var (best, bestAt) = (-1, start)
        while !Interrupt.isSeen {
            let readable = try await Self.count(topic, cluster)
            if readable >= records { break }
            if readable > best { (best, bestAt) = (readable, .now) }
            guard ContinuousClock.now - bestAt < .milliseconds(cluster.configuration.patienceMs) else {
                throw CommandFailure(
                    "the replicas of \(topic) do not catch up: \(best) of \(counted(records, "record")) can be read: "
                        + "martlet cluster health")
            }
            if !hasSaidSo, ContinuousClock.now - start > .milliseconds(200) {
                hasSaidSo = true
                printToStandardError(
                    "\(grouped(readable)) of \(counted(records, "record")) have reached all replicas in sync: "
                        + "reading begins when all have")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
