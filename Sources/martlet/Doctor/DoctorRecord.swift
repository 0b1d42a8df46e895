// The doctor's one record: written with acks=all, and read back from the start.

import MartletClient
import NIOCore

enum DoctorRecord {
    static func write(_ text: String, to topic: String, of cluster: ClusterClient) async throws {
        var settings = ProducerConfiguration()
        settings.deliveryTimeoutMs = max(1_000, cluster.configuration.patienceMs)
        let producer = Producer(cluster, configuration: settings)
        try await producer.send(ProducerRecord(topic: topic, value: text))
        await producer.close()
    }

    /// Nil when none came within the client's patience.
    static func read(from topic: String, of cluster: ClusterClient) async throws -> String? {
        let consumer = Consumer(cluster)
        defer { consumer.close() }
        try await consumer.assign(topic: topic, from: .earliest)
        let deadline = ContinuousClock.now.advanced(by: .milliseconds(cluster.configuration.patienceMs))
        repeat {
            if let record = try await consumer.nextBatch(waitMs: 100).first {
                return record.value.map { String(buffer: $0) }
            }
        } while ContinuousClock.now < deadline && !Interrupt.isSeen
        return nil
    }
}
