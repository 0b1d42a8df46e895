// martlet groups: list, describe, lag, reset-offsets, delete.

import ArgumentParser
import MartletClient
import Model

struct Groups: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, describe and delete consumer groups, see their lag, and set their offsets.",
        subcommands: [
            ListGroups.self, DescribeGroups.self, GroupLagCommand.self, ResetOffsets.self, DeleteGroups.self,
        ])
}

struct ListGroups: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List groups by name, with state, protocol and coordinator.",
        discussion: "For scripts: martlet groups list --names")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "Only groups in this state, such as Stable or Empty.") var state: String?
    @Flag(help: "Names only, one a line.") var names = false

    func run() throws {
        let command = self
        try client.run { cluster in
            let list = try await cluster.groups()
            let groups = list.groups.filter { group in
                command.state.map { $0.lowercased() == group.state?.lowercased() } ?? true
            }
            let document = Json.array(groups.map(\.document))
            try command.output.show(document) { page in
                if command.names {
                    for group in groups { page.line("\(group.groupID.printable)") }
                } else if groups.isEmpty {
                    page.line("no groups\(command.state.map { " in state \($0.printable)" } ?? "")")
                } else {
                    page.table(Self.table(of: groups))
                }
            }
            list.tellOfSilentNodes()
        }
    }

    private static func table(of groups: [GroupListing]) -> Table {
        var table = Table(.left("group"), .left("state"), .left("protocol"), .left("type"), .right("coordinator"))
        for group in groups {
            table.add(
                Cell(group.groupID.printable), Cell(group.state ?? "-"), Cell(group.type ?? "-"),
                Cell(group.protocolType.isEmpty ? "-" : group.protocolType.printable), Cell(group.coordinator))
        }
        return table
    }
}

struct DeleteGroups: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete groups that have no members, with their offsets.",
        discussion: "Example: martlet groups delete kitchen cellar")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "Groups.") var groups: [String]
    @Flag(help: "A group that is not there is no failure.") var ifExists = false

    func run() throws {
        let (names, output, ifExists) = (groups, output, ifExists)
        try client.run { cluster in
            var deleted: [String] = []
            var absent: [String] = []
            var failure: String?
            for name in names where failure == nil {
                do {
                    try await cluster.deleteGroup(name)
                    deleted.append(name)
                    if !output.json { try StandardOutput.write("deleted group \(name.printable)\n") }
                } catch let error as ClientError where error.refusal == .groupIdNotFound {
                    absent.append(name)
                    if !ifExists {
                        failure = "there is no group \(name.printable): martlet groups list, or --if-exists"
                    } else if !output.json {
                        try StandardOutput.write("there is no group \(name.printable)\n")
                    }
                } catch let error as ClientError where error.refusal == .nonEmptyGroup {
                    failure =
                        "group \(name.printable) has members: stop them first; martlet groups describe names them"
                } catch let error as ClientError {
                    failure = error.sentence
                }
            }
            // What was done before the failure is done, and said.
            if output.json {
                try output.show(
                    .object(["deleted": deleted.json, "absent": absent.json, "error": failure.json])
                ) { _ in }
            }
            if let failure { throw CommandFailure(failure) }
        }
    }
}

extension ClientError {
    /// The code with which the cluster refused.
    var refusal: KafkaErrorCode? {
        if case .refused(_, let code, _) = self { code } else { nil }
    }
}

extension GroupListing {
    var document: Json {
        .object([
            "group": groupID.json, "state": state.json, "protocol": type.json, "type": protocolType.json,
            "coordinator": coordinator.json,
        ])
    }
}
