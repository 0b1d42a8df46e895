// martlet cluster quorum: the metadata quorum as its leader sees it.

import ArgumentParser
import MartletClient

struct DescribeQuorum: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quorum", abstract: "Show the metadata quorum: leader, epoch, voters, observers and their lag.",
        discussion: "Times are how long ago, by the clock here and the leader's.")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let output = output
        let addresses = try client.addresses()
        try client.run { cluster in
            guard let quorum = try await Self.quorum(of: cluster) else {
                let silent = await SilentNode.find(cluster, bootstrap: addresses)
                throw CommandFailure(
                    "the metadata quorum has no leader now: more than half of its voters must run\(silent.list): "
                        + "martlet cluster health")
            }
            try output.show(Self.document(quorum)) { Self.show(quorum, on: &$0) }
        }
    }

    /// Nil when it has no leader, or only one that does not answer.
    private static func quorum(of cluster: ClusterClient) async throws -> QuorumDescription? {
        do {
            return try await cluster.describeQuorum()
        } catch let error as ClientError where error.isRetriable {
            // With nobody to ask at all, that is what there is to say.
            _ = try await cluster.describeCluster()
            return nil
        }
    }

    private static func show(_ quorum: QuorumDescription, on page: inout Page) {
        page.pieces(
            Cell("leader node \(quorum.leader)", .bold), "epoch \(quorum.leaderEpoch)",
            "high watermark \(quorum.highWatermark)", "\(counted(quorum.voters.count, "voter"))")
        var table = Table(
            .right("node"), .left("role"), .right("log end"), .right("lag"), .right("last fetch"),
            .right("caught up"), .left("directory id"))
        let nowMs = wallClockMs()
        func age(_ ms: Int64?) -> Cell {
            Cell(
                ms.map { durationText(ms: Double(max(0, nowMs.subtractingReportingOverflow($0).partialValue))) } ?? "-")
        }
        for replica in quorum.voters + quorum.observers {
            let isLeader = replica.nodeID == quorum.leader
            table.add(
                Cell(replica.nodeID), Cell(quorum.role(of: replica.nodeID) ?? "-", isLeader ? .bold : .plain),
                Cell(replica.logEndOffset), Cell(replica.lag),
                isLeader ? "-" : age(replica.lastFetchTimestampMs),
                isLeader ? "-" : age(replica.lastCaughtUpTimestampMs), Cell(replica.directoryID ?? "-"))
        }
        page.table(table)
    }

    private static func document(_ quorum: QuorumDescription) -> Json {
        func replicas(_ list: [QuorumDescription.Replica]) -> Json {
            .array(
                list.map { replica in
                    .object([
                        "id": replica.nodeID.json, "directoryId": replica.directoryID.json,
                        "logEndOffset": replica.logEndOffset.json, "lag": replica.lag.json,
                        "lastFetchTimestampMs": replica.lastFetchTimestampMs.json,
                        "lastCaughtUpTimestampMs": replica.lastCaughtUpTimestampMs.json,
                    ])
                })
        }
        return .object([
            "leader": quorum.leader.json, "leaderEpoch": quorum.leaderEpoch.json,
            "highWatermark": quorum.highWatermark.json, "voters": replicas(quorum.voters),
            "observers": replicas(quorum.observers),
        ])
    }
}
