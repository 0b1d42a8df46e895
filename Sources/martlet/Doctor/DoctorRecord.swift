// The doctor's one record: written with acks=all, and read back from the start.

import MartletClient
import NIOCore

enum DoctorRecord {
    static func write(_ text: String, to topic: String, of cluster: ClusterClient) async throws {
        var producer = Producer(client: cluster, topic: topic)
        try await producer.send([ProducedRecord(value: ByteBuffer(string: text), timestampMs: wallClockMs())])
    }

    /// Nil when none came within the client's patience.
    static func read(from topic: String, of cluster: ClusterClient) async throws -> String? {
        var consumer = try await Consumer(client: cluster, topic: topic, from: .earliest)
        let patienceMs = await cluster.configuration.patienceMs
        let deadline = ContinuousClock.now.advanced(by: .milliseconds(patienceMs))
        repeat {
            if let record = try await consumer.poll().first {
                return record.record.value.map { String(buffer: $0) }
            }
        } while ContinuousClock.now < deadline && !Interrupt.isSeen
        return nil
    }
}
