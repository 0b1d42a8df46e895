// Vehicles report where they are; a reader follows all of them. Run it beside a cluster: make cluster, then
// swift run --package-path Examples/Telemetry Telemetry 127.0.0.1:19092

import MartletClient

@main
struct Telemetry {
    static let topic = "telemetry"
    static let vehicles = 10
    static let reportsOfEach = 100

    static func main() async throws {
        let address = CommandLine.arguments.dropFirst().first ?? "127.0.0.1:19092"
        let parts = address.split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1]) else { fatalError("usage: Telemetry host:port") }
        let client = ClusterClient(bootstrap: [BrokerAddress(host: String(parts[0]), port: port)])

        try await createTopic(client)
        // The reader starts at what comes from here on, so that a second run does not read the reports of the first.
        let consumer = Consumer(client)
        try await consumer.assign(topic: topic, from: .latest)
        for partition in consumer.assignment {
            while consumer.position(of: partition) == nil { try await Task.sleep(for: .milliseconds(1)) }
        }
        async let read = follow(consumer)
        try await report(client)
        let seen = try await read
        for (vehicle, count) in seen.sorted(by: { $0.key < $1.key }) { print("\(vehicle): \(count) reports") }
        await client.close()
    }

    static func createTopic(_ client: ClusterClient) async throws {
        var new = NewTopic(name: topic)
        new.partitions = 3
        do {
            try await client.createTopic(new)
        } catch ClientError.refused(_, .topicAlreadyExists, _) {
            print("topic \(topic) is there already")
        }
    }

    /// Every vehicle's reports carry its name as the key: they stay in one partition, in order.
    static func report(_ client: ClusterClient) async throws {
        let producer = Producer(client)
        for number in 0..<reportsOfEach {
            for vehicle in 0..<vehicles {
                // `submit` waits only for room in the buffer; `send` would wait for the acknowledgement of each.
                try await producer.submit(
                    ProducerRecord(topic: topic, key: "vehicle-\(vehicle)", value: "report \(number)")
                ) { result in
                    if case .failure(let error) = result { print("not written: \(error)") }
                }
            }
        }
        // Returns when all are acknowledged: fsynced on every in-sync replica.
        await producer.close()
    }

    static func follow(_ consumer: Consumer) async throws -> [String: Int] {
        var seen: [String: Int] = [:]
        var count = 0
        for try await record in consumer {
            seen[record.key.map { String(buffer: $0) } ?? "", default: 0] += 1
            count += 1
            if count == vehicles * reportsOfEach { break }
        }
        return seen
    }
}
