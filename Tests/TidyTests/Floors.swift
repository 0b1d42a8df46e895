// The floors of the house (docs/ARCHITECTURE.md) as a table: a target imports only lower floors, and only the outside
// modules named here.

import Foundation

struct Room {
    let floor: Int
    /// Modules from outside the project that files of the target may import.
    let outside: Set<String>
    /// A pure target has no IO, no clock, no randomness of its own and no concurrency.
    let isPure: Bool

    init(_ floor: Int, outside: Set<String> = [], pure: Bool = false) {
        self.floor = floor
        self.outside = outside
        isPure = pure
    }
}

let rooms: [String: Room] = [
    "CChecksum": Room(-1), "CPosix": Room(-1), "CZlib": Room(-1), "CLz4": Room(-1), "CZstd": Room(-1),
    "CSnappy": Room(-1), "CAllocations": Room(-1),
    "Model": Room(0, pure: true),
    "Records": Room(1, outside: ["NIOCore"], pure: true),
    "Wire": Room(1, outside: ["NIOCore"], pure: true),
    "Raft": Room(2, pure: true),
    "Replication": Room(2, pure: true),
    "Metadata": Room(2, outside: ["NIOCore"], pure: true),
    "Groups": Room(2, outside: ["NIOCore"], pure: true),
    "Transactions": Room(2, outside: ["NIOCore"], pure: true),
    "Storage": Room(3, outside: ["NIOCore"], pure: true),
    "DiskSimulation": Room(4, outside: ["NIOCore"], pure: true),
    "Broker": Room(4, outside: ["NIOCore"], pure: true),
    "Server": Room(
        5,
        outside: [
            "NIOCore", "NIOPosix", "NIOConcurrencyHelpers", "Logging", "Yams", "Foundation", "Glibc", "Synchronization",
        ]),
    "MartletClient": Room(
        5, outside: ["NIOCore", "NIOPosix", "NIOConcurrencyHelpers", "Synchronization", "Glibc", "Musl", "Darwin"]),
    "Simulation": Room(5, outside: ["NIOCore"]),
    "SmallScope": Room(5, pure: true),
    "martlet": Room(
        6,
        outside: [
            "ArgumentParser", "Histogram", "NIOCore", "NIOPosix", "NIOConcurrencyHelpers", "Logging", "Glibc",
            "Synchronization",
            "Foundation",
        ]),
    "FuzzEntries": Room(6, outside: ["NIOCore"]),
    "MicroCases": Room(5, outside: ["NIOCore"]),
    "micro-speed": Room(6),
    "BenchDriver": Room(5),
    "ingest-speed": Room(6),
    "latency-speed": Room(6),
    "read-speed": Room(6),
    "martlet-sim": Room(6, outside: ["ArgumentParser", "Glibc", "Synchronization", "Foundation"]),
]

/// Targets that Package.swift declares below the test targets, with the names each depends on.
func declaredTargets(inManifest text: String) -> [(name: String, dependencies: [String])] {
    var targets: [(name: String, dependencies: [String])] = []
    for kind in [".target(", ".executableTarget("] {
        for piece in text.components(separatedBy: kind).dropFirst() {
            let body = balanced(piece)
            guard let name = quoted(in: body).first, body.contains("name:") else { continue }
            // `.target(name: "X")` inside a dependency list is a name, not a declaration; it has no settings of its
            // own.
            var dependencies: [String] = []
            if let start = body.range(of: "dependencies: [") {
                dependencies = quoted(in: balancedBrackets(String(body[start.upperBound...])))
            }
            targets.append((name, dependencies))
        }
    }
    return targets
}

/// Text up to the parenthesis that closes what was opened just before it.
private func balanced(_ text: String) -> String { upToClose(text, open: "(", close: ")") }
private func balancedBrackets(_ text: String) -> String { upToClose(text, open: "[", close: "]") }

private func upToClose(_ text: String, open: Character, close: Character) -> String {
    var depth = 1
    for index in text.indices {
        if text[index] == open { depth += 1 }
        if text[index] == close { depth -= 1 }
        if depth == 0 { return String(text[..<index]) }
    }
    return text
}

private func quoted(in text: String) -> [String] {
    text.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
        .filter { $0.offset % 2 == 1 }.map { String($0.element) }
}
