// How far a group is behind: what it committed in each partition, and where the partition ends.

import MartletClient
import Model

struct GroupLag: Sendable {
    struct Row: Sendable {
        var partition: MartletClient.TopicPartition
        /// Nil: nothing is committed.
        var committed: OffsetAndMetadata?
        /// Nil: the topic is not there, or the partition has no leader.
        var end: Int64?
        /// Who reads it.
        var member: GroupMember?

        /// Records behind the committed offset.
        var lag: Int64? {
            guard let committed, let end else { return nil }
            return max(0, end - committed.offset)
        }
    }

    /// In order of topic and partition.
    var rows: [Row] = []

    var total: Int64 { rows.reduce(0) { $0 + ($1.lag ?? 0) } }

    /// Partitions with a committed offset, and those that members read.
    static func find(_ cluster: ClusterClient, group: String, members: [GroupMember]) async throws -> GroupLag {
        let committed = try await cluster.committedOffsets(of: group)
        var readers: [MartletClient.TopicPartition: GroupMember] = [:]
        for member in members { for partition in member.assignment { readers[partition] = member } }
        let partitions = Set(committed.keys).union(readers.keys).sorted()
        var ends: [MartletClient.TopicPartition: Int64] = [:]
        for (topic, all) in Dictionary(grouping: partitions, by: \.topic) {
            do {
                // A topic that was made anew may have fewer partitions.
                let there = Set(try await cluster.describeTopic(topic).partitions.filter { !$0.isOffline }.map(\.index))
                let asked = all.map(\.partition).filter { there.contains($0) }
                for found in try await cluster.offsets(of: topic, at: .latest, partitions: asked) {
                    ends[TopicPartition(topic, found.partition)] = found.offset
                }
            } catch let error as ClientError where error.isTopicAbsent {}
        }
        return GroupLag(
            rows: partitions.map { partition in
                Row(
                    partition: partition, committed: committed[partition], end: ends[partition],
                    member: readers[partition])
            })
    }

    func show(on page: inout Page, indent: String = "") {
        var table = Table(
            .left("topic"), .right("partition"), .right("committed"), .right("end"), .right("lag"), .left("member"))
        for row in rows {
            let lag = Cell(row.lag, row.lag ?? 0 > 0 ? .warning : .plain)
            table.add(
                Cell(row.partition.topic), Cell(row.partition.partition), Cell(row.committed?.offset), Cell(row.end),
                lag, Cell(row.member?.shortName ?? "-"))
        }
        if table.isEmpty {
            page.line("\(indent)no committed offsets")
        } else {
            page.table(table, indent: indent)
            page.line("\(indent)lag \(total) in all")
        }
    }

    var documents: Json {
        .array(
            rows.map { row in
                .object([
                    "topic": row.partition.topic.json, "partition": row.partition.partition.json,
                    "committed": (row.committed?.offset).json, "leaderEpoch": (row.committed?.leaderEpoch).json,
                    "metadata": (row.committed?.metadata).json, "end": row.end.json, "lag": row.lag.json,
                    "member": (row.member?.memberID).json,
                ])
            })
    }
}

extension GroupMember {
    /// What people call it by.
    var shortName: String { (instanceID ?? memberID).printable }
}
