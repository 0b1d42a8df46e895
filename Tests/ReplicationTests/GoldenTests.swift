// The golden scripts in Scripts/: UPDATE_GOLDEN=1 writes what happens now; read the difference before you keep it.

import Foundation
import Testing

@Suite struct GoldenTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Scripts")

    @Test(arguments: [
        "produce-fetch-commit", "minimum-isr", "join-beyond-epoch-start", "rebooted-follower", "two-fast-failovers",
        "unknown-epoch", "proposal-refused",
    ])
    func scriptStandsAsWritten(name: String) throws {
        let file = Self.folder.appendingPathComponent(name + ".txt")
        let written = try String(contentsOf: file, encoding: .utf8)
        let replayed = Script.replay(written)
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try replayed.write(to: file, atomically: true, encoding: .utf8)
        } else {
            #expect(replayed == written, "\(name)")
        }
    }
}
