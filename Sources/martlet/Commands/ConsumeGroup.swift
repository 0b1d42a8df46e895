// martlet consume --group: prints what a group assigns to this process, and commits what was printed.

import ArgumentParser
import MartletClient
import NIOCore

extension GroupProtocol: ExpressibleByArgument {}

extension Consume {
    func consume(as group: String, _ cluster: ClusterClient) async throws {
        for topic in topics { _ = try await cluster.describeTopic(topic) }
        var settings = GroupConsumerConfiguration()
        settings.groupProtocol = groupProtocol
        settings.groupInstanceID = instanceId
        if let sessionTimeout { settings.sessionTimeoutMs = Int32(clamping: Int64(sessionTimeout) * 1_000) }
        settings.offsetReset = fromBeginning ? .earliest : .latest
        settings.autoCommitIntervalMs = 1_000
        settings.consumer.patienceMs = Int64(client.patience) * 1_000
        settings.consumer.isolation = readCommitted ? .readCommitted : .readUncommitted
        let onChange: GroupConsumer.ChangeHandler = { printToStandardError(Self.sentence(for: $0)) }
        let consumer =
            if let pattern {
                GroupConsumer(cluster, group: group, pattern: pattern, configuration: settings, onChange: onChange)
            } else {
                GroupConsumer(cluster, group: group, topics: topics, configuration: settings, onChange: onChange)
            }
        var printed = 0
        do {
            try await printRecords(of: consumer, &printed)
            // Who counts on it that the next one prints what follows is told where that is not so.
            if !Interrupt.isSeen { try await commit(printed, consumer) }
        } catch {
            // What could not be printed is for the next one.
            await consumer.close(dealtWithAll: false, patienceMs: closePatienceMs)
            throw error
        }
        await consumer.close(patienceMs: closePatienceMs)
        if Interrupt.isSeen { printToStandardError("\(counted(printed, "record")) read") }
    }

    private func commit(_ printed: Int, _ consumer: GroupConsumer) async throws {
        do {
            try await consumer.commit()
        } catch let error as ClientError {
            throw CommandFailure("\(counted(printed, "record")) printed, and not committed: \(error.sentence)")
        }
    }

    /// Ctrl-C gives a command two seconds.
    private var closePatienceMs: Int64? { Interrupt.isSeen ? 1_500 : nil }

    private func printRecords(of consumer: GroupConsumer, _ printed: inout Int) async throws {
        let format = RecordFormat(self)
        while !Interrupt.isSeen, printed < count ?? .max {
            // Not too many at once: what is held when this process dies is printed again by another.
            let room = min(1_000, (count ?? .max) - printed)
            let records = try await consumer.nextBatch(countMax: room, waitMs: 100)
            var output = ByteBuffer()
            for record in records { format.write(record, into: &output) }
            printed += records.count
            try writeToStandardOutput(output)
            guard !isStandardOutputClosed() else { throw OutputClosed() }
        }
    }

    private static func sentence(for change: AssignmentChange) -> String {
        func list(_ partitions: [MartletClient.TopicPartition]) -> String {
            partitions.map(\.description).joined(separator: " ")
        }
        return switch change {
        case .assigned(let partitions): "reads \(list(partitions))"
        case .revoked(let partitions): "gave up \(list(partitions))"
        case .lost(let partitions): "lost \(list(partitions)): the group went on without this member"
        }
    }
}
