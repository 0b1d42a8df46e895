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
        // The first record brings connections and metadata, which are no throughput.
        try await producer.send(ProducerRecord(topic: topic, value: values.next()))
        return try await meter.measure("produce", cluster, isQuiet: isQuiet) {
            var pace = Pace(perSecond: rate)
            let size = size
            for _ in 0..<records {
                if let waitMs = pace.next() { try await Task.sleep(for: .milliseconds(waitMs)) }
                let start = ContinuousClock.now
                try await producer.submit(ProducerRecord(topic: topic, value: values.next())) { result in
                    switch result {
                    case .success:
                        meter.add(records: 1, bytes: size, microseconds: (ContinuousClock.now - start).microseconds)
                    case .failure(let error): meter.fail(error)
                    }
                }
                if Interrupt.isSeen || meter.failure != nil { break }
            }
            await producer.close()
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
            while meter.records < records, !Interrupt.isSeen {
                let batch = try await consumer.nextBatch(countMax: records - meter.records, waitMs: 100)
                let bytes = batch.reduce(0) { $0 + ($1.key?.readableBytes ?? 0) + ($1.value?.readableBytes ?? 0) }
                meter.add(records: batch.count, bytes: bytes)
            }
        }
    }

    /// Records that a topic holds.
    static func count(_ topic: String, _ cluster: ClusterClient) async throws -> Int {
        let first = try await cluster.offsets(of: topic, at: .earliest)
        let last = try await cluster.offsets(of: topic, at: .latest)
        return zip(first, last).reduce(0) { $0 + Int(($1.1.offset ?? 0) - ($1.0.offset ?? 0)) }
    }
}
