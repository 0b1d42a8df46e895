// martlet groups describe | lag: who is in a group, who reads what, and how far it is behind.

import ArgumentParser
import MartletClient

struct DescribeGroups: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show a group's protocol, state, coordinator, members and lag.",
        discussion: """
            Example: martlet groups describe kitchen
            When and why it rebalanced before stands in the log of its coordinator.
            """)

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "Groups.") var groups: [String]

    func run() throws {
        let (names, output) = (groups, output)
        try client.run { cluster in
            var found: [(GroupDescription, GroupLag)] = []
            var failure: CommandFailure?
            do {
                for name in names {
                    let group = try await cluster.knownGroup(name)
                    found.append((group, try await GroupLag.find(cluster, group: name, members: group.members)))
                }
            } catch let error as CommandFailure {
                // Those before it are shown all the same.
                failure = error
            }
            if failure == nil || !found.isEmpty {
                try output.show(.array(found.map { $0.document($1) })) { page in
                    for (group, lag) in found { Self.show(group, lag, on: &page) }
                }
            }
            if let failure { throw failure }
        }
    }

    private static func show(_ group: GroupDescription, _ lag: GroupLag, on page: inout Page) {
        let node = group.coordinator
        page.pieces(
            Cell("group \(group.groupID.printable)", .bold), Cell("state \(group.state)"),
            Cell("protocol \(group.groupProtocol.rawValue)"),
            Cell(group.assignor.isEmpty ? "" : "assignor \(group.assignor.printable)"),
            Cell(group.epoch.map { "epoch \($0)" } ?? ""), Cell("coordinator node \(node.id) at \(node.address)"))
        if group.protocolType != "consumer", !group.protocolType.isEmpty {
            page.line("  of type \(group.protocolType.printable): what its members share out is not known here")
        }
        if let rebalance = group.lastRebalance {
            page.line("  last rebalance \(timeText(rebalance.atMs)): \(rebalance.reason.printable)")
        }
        if group.members.isEmpty {
            page.line("  no members")
        } else {
            var table = Table(.left("member"), .left("client"), .left("host"), .left("reads"))
            for member in group.members {
                table.add(
                    Cell(member.shortName), Cell(member.clientID.printable), Cell(member.clientHost.printable),
                    Cell(Self.text(of: member)))
            }
            page.table(table, indent: "  ")
        }
        lag.show(on: &page, indent: "  ")
    }

    /// "orders:0,1 payments:2", and what is still to change.
    private static func text(of member: GroupMember) -> String {
        let now = text(member.assignment)
        guard let target = member.target, target != member.assignment else { return now }
        return "\(now), to be \(text(target))"
    }

    private static func text(_ partitions: [MartletClient.TopicPartition]) -> String {
        guard !partitions.isEmpty else { return "nothing" }
        return Dictionary(grouping: partitions, by: \.topic).sorted { $0.key < $1.key }.map { topic, partitions in
            "\(topic):" + partitions.map(\.partition).list
        }.joined(separator: " ")
    }
}

struct GroupLagCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lag", abstract: "Show what groups have committed and how far they are behind.",
        discussion: "Example: martlet groups lag kitchen")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "Groups; all when none is given, with their sums.") var groups: [String] = []

    func run() throws {
        let (names, output) = (groups, output)
        try client.run { cluster in
            if names.isEmpty { return try await Self.showSums(cluster, output) }
            var found: [(String, GroupLag)] = []
            var failure: CommandFailure?
            do {
                for name in names {
                    let group = try await cluster.knownGroup(name)
                    found.append((name, try await GroupLag.find(cluster, group: name, members: group.members)))
                }
            } catch let error as CommandFailure {
                // Those before it are shown all the same.
                failure = error
            }
            if failure == nil || !found.isEmpty {
                try output.show(.array(found.map { Self.document($0, $1) })) { page in
                    for (name, lag) in found {
                        if names.count > 1 { page.line(Cell("group \(name.printable)", .bold)) }
                        lag.show(on: &page, indent: names.count > 1 ? "  " : "")
                    }
                }
            }
            if let failure { throw failure }
        }
    }

    private static func document(_ name: String, _ lag: GroupLag) -> Json {
        .object(["group": name.json, "lag": lag.total.json, "partitions": lag.documents])
    }

    private static func showSums(_ cluster: ClusterClient, _ output: OutputOptions) async throws {
        var found: [(String, GroupLag)] = []
        var refused: [String] = []
        let list = try await cluster.groups()
        // Share groups commit nothing.
        for group in list.groups where group.type != "share" {
            do {
                found.append((group.groupID, try await GroupLag.find(cluster, group: group.groupID, members: [])))
            } catch let error as ClientError where error.refusal != nil {
                refused.append(error.sentence)
            }
        }
        try output.show(.array(found.map { document($0, $1) })) { page in
            guard !found.isEmpty else { return page.line("no groups") }
            var table = Table(.left("group"), .right("partitions"), .right("lag"))
            for (name, lag) in found {
                table.add(
                    Cell(name.printable), Cell(lag.rows.count), Cell(lag.total, lag.total > 0 ? .warning : .plain))
            }
            page.table(table)
        }
        list.tellOfSilentNodes()
        if !refused.isEmpty { throw CommandFailure(refused.joined(separator: "\n")) }
    }
}

extension GroupList {
    func tellOfSilentNodes() {
        guard !silentNodes.isEmpty else { return }
        printToStandardError(
            "\(counted(silentNodes.count, "node")) did not answer (\(silentNodes.list)): groups that they coordinate "
                + "are missing")
    }
}

extension ClusterClient {
    /// - Throws: `CommandFailure` with all there is to say.
    func knownGroup(_ name: String) async throws -> GroupDescription {
        do {
            return try await describeGroup(name)
        } catch let error as ClientError where error.refusal == .groupIdNotFound {
            throw CommandFailure("there is no group \(name.printable): martlet groups list")
        } catch let error as ClientError {
            throw CommandFailure(error.sentence)
        }
    }
}

extension GroupDescription {
    func document(_ lag: GroupLag) -> Json {
        .object([
            "group": groupID.json, "state": state.json, "protocol": groupProtocol.rawValue.json,
            "type": protocolType.json, "assignor": assignor.json, "epoch": epoch.json,
            "coordinator": .object(["id": coordinator.id.json, "address": "\(coordinator.address)".json]),
            "rebalanced": lastRebalance.map {
                .object(["at": timeText($0.atMs).json, "reason": $0.reason.json])
            } ?? .null, "members": .array(members.map(\.document)), "lag": lag.total.json, "partitions": lag.documents,
        ])
    }
}

extension GroupMember {
    var document: Json {
        func list(_ partitions: [MartletClient.TopicPartition]) -> Json {
            .array(
                partitions.map { .object(["topic": $0.topic.json, "partition": $0.partition.json]) })
        }
        return .object([
            "member": memberID.json, "instance": instanceID.json, "client": clientID.json, "host": clientHost.json,
            "epoch": epoch.json, "assignment": list(assignment), "target": target.map(list) ?? .null,
        ])
    }
}
