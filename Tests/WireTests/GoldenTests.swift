// The field table of every message and version, as text in Golden/. A change of a layout is a change of a file that a
// reviewer sees. `UPDATE_GOLDEN=1` rewrites them.

import Foundation
import Testing
import Wire

@Suite struct GoldenTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")
    private static let isUpdating = ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1"

    @Test func everyAPIMatchesItsFile() throws {
        for request in allRequests.types {
            func tables<M: WireRequest>(_: M.Type) -> String {
                "→\n" + Self.tables(M.self) + "←\n" + Self.tables(M.Response.self)
            }
            let key = request.api.rawValue
            try Self.check("\(key < 10 ? "0" : "")\(key)_\(request.api).txt", tables(request))
        }
    }

    @Test func recordsMatchTheirFile() throws {
        let text = recordTypes.map { type in
            func tables<M: WireMessage>(_: M.Type) -> String { "\(M.self)\n" + Self.tables(M.self) }
            return tables(type)
        }
        try Self.check("Records.txt", text.joined())
    }

    @Test func noFileIsLeftWithoutItsMessage() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path())
        #expect(files.count == allRequests.types.count + 1)
    }

    /// One line per version; versions with the same fields share a line.
    private static func tables<M: WireMessage>(_: M.Type) -> String {
        var lines: [(first: Int16, last: Int16, table: String)] = []
        for version in M.versions {
            let table = (version >= M.flexibleSince ? "flexible " : "") + WirePrinter.table(M.self, version: version)
            if let last = lines.last, last.table == table {
                lines[lines.count - 1].last = version
            } else {
                lines.append((version, version, table))
            }
        }
        return lines.map { "v\($0.first)\($0.last > $0.first ? "-\($0.last)" : "") \($0.table)\n" }.joined()
    }

    private static func check(_ name: String, _ text: String) throws {
        let file = folder.appending(path: name)
        if isUpdating {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        let golden = try String(decoding: Data(contentsOf: file), as: UTF8.self)
        #expect(golden == text, "\(name) differs; UPDATE_GOLDEN=1 rewrites it")
    }
}
