// martlet doctor: goes the way of a client step by step, and names the first step that fails and what to do.

import ArgumentParser
import MartletClient

struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find out why a cluster cannot be used from here: the first thing that fails, and the fix.",
        discussion: """
            Looks at the bootstrap addresses, the metadata, every advertised address, controller and health, and then \
            writes and reads a record of a topic that it creates and deletes again. Works with any Kafka cluster.
            """)

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Flag(help: "Look only: create no topic, write nothing.") var readOnly = false

    /// A step that takes longer than this has failed.
    private static let patienceSecondsMax = 10

    func run() throws {
        let command = self
        let addresses = try client.addresses()
        try client.run(patienceSecondsMax: Self.patienceSecondsMax, newTopicPatienceMs: 2_000) { cluster in
            var examination = Examination(
                cluster: cluster, bootstrap: addresses, source: command.client.addressSource,
                isReadOnly: command.readOnly, isSilent: command.output.json)
            try await examination.run()
            let failure = examination.checks.first { $0.outcome == .failed }
            try command.output.show(Self.document(examination.checks)) { page in
                if failure == nil, !Interrupt.isSeen { page.line(Cell("all is well", .good)) }
            }
            if Interrupt.isSeen { throw CommandFailure("ended by Ctrl-C before all was looked at: run it again") }
            if let failure {
                throw CommandFailure("\(failure.name): \(failure.detail): \(failure.fix ?? "see above")")
            }
        }
    }

    private static func document(_ checks: [Check]) -> Json {
        let failure = checks.first { $0.outcome == .failed }
        return .object([
            "ok": (failure == nil).json, "firstFailure": (failure?.name).json, "fix": (failure?.fix).json,
            "checks": .array(
                checks.map { check in
                    .object([
                        "name": check.name.json, "outcome": check.outcome.rawValue.json,
                        "detail": check.detail.json, "fix": check.fix.json,
                        "milliseconds": check.milliseconds.map(\.json) ?? .null,
                    ])
                }),
        ])
    }
}

/// One step of the way, and how it went.
struct Check {
    enum Outcome: String {
        case ok, warning, failed, skipped

        var style: Style {
            switch self {
            case .ok: .good
            case .warning: .warning
            case .failed: .bad
            case .skipped: .faint
            }
        }
    }

    var name: String
    var outcome: Outcome
    var detail: String
    /// What to do; nil where nothing is wrong.
    var fix: String?
    var milliseconds: Double?

    func show(on page: inout Page) {
        let word = outcome.rawValue + String(repeating: " ", count: max(0, 8 - outcome.rawValue.count))
        let time = milliseconds.map { durationText(ms: $0) } ?? ""
        page.sentence(
            name + (time.isEmpty ? "" : " (\(time))") + (detail.isEmpty ? "" : ": \(detail)"),
            behind: Cell(word, outcome.style))
    }
}
