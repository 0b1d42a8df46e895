// Runs `micro-speed count` under callgrind: the program prints each case's allocations, and the dumps that callgrind
// leaves have its instructions.

import Foundation
import Testing

enum Callgrind {
    struct Failure: Error, CustomStringConvertible { var description: String }

    /// Why nothing can be counted here; nil when it can.
    static var obstacle: String? {
        #if DEBUG
            return "instructions are counted in release builds only (swift test -c release)"
        #elseif !arch(x86_64)
            return "the thresholds are those of x86-64"
        #else
            if tool("valgrind") == nil { return "valgrind is not installed" }
            if tool("strip") == nil { return "strip (binutils) is not installed" }
            return nil
        #endif
    }

    static var reason: Comment { Comment(rawValue: obstacle ?? "") }

    static func costsPerCall() throws -> [(name: String, cost: Cost)] {
        let folder = FileManager.default.temporaryDirectory.appending(path: "micro-guard-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let stripped = folder.appending(path: "micro-speed")
        // Valgrind 3.19 gives up on Swift's debug sections; the names of functions are kept, for the marks.
        _ = try run("strip", ["-g", "-o", stripped.path, try builtProgram().path])
        let dumps = folder.appending(path: "dump").path
        let output = try run(
            "valgrind",
            [
                "--tool=callgrind", "--dump-before=*stretchEnds*", "--callgrind-out-file=\(dumps)", stripped.path,
                "count",
            ])
        // The program prints a row for each case and ends two stretches: the warm-up, and the one that counts.
        return try output.split(separator: "\n").enumerated().map { index, row in
            let parts = row.split(separator: "\t", maxSplits: 2)
            let dump = "\(dumps).\(2 * index + 2)"
            guard parts.count == 3, let calls = Int(parts[0]), calls > 0, let allocations = Int(parts[1]),
                let total = total(inDump: try String(contentsOfFile: dump, encoding: .utf8))
            else { throw Failure(description: "no count for \(row)") }
            let cost = Cost(instructions: total / calls, allocations: (allocations + calls / 2) / calls)
            return (String(parts[2]), cost)
        }
    }

    static func total(inDump text: String) -> Int? {
        text.split(separator: "\n").first { $0.hasPrefix("totals: ") }.flatMap { Int($0.dropFirst(8)) }
    }

    /// `micro-speed`, which the same build put beside this test program.
    private static func builtProgram() throws -> URL {
        let own = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        let program = own.deletingLastPathComponent().appending(path: "micro-speed")
        guard FileManager.default.isExecutableFile(atPath: program.path) else {
            throw Failure(description: "\(program.path) is not built")
        }
        return program
    }

    private static func tool(_ name: String) -> String? {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":")
        return folders.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    private static func run(_ name: String, _ arguments: [String]) throws -> String {
        guard let path = tool(name) else { throw Failure(description: "\(name) is not installed") }
        let process = Process()
        process.executableURL = URL(filePath: path)
        process.arguments = arguments
        var environment = ProcessInfo.processInfo.environment
        environment["SWIFT_DETERMINISTIC_HASHING"] = "1"
        // A large copy is one `rep movsb` on some machines, which is counted once a byte, and from a size that depends
        // on the cache it goes past the cache in other steps; everywhere the same loop instead.
        environment["GLIBC_TUNABLES"] =
            "glibc.cpu.x86_rep_movsb_threshold=1073741824:glibc.cpu.x86_non_temporal_threshold=1073741824"
        process.environment = environment
        let output = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(description: "\(name) ended with \(process.terminationStatus)")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
