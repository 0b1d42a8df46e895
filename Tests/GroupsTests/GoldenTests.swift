// The golden scripts in Scripts/: UPDATE_GOLDEN=1 writes what happens now; read the difference before you keep it.

import Foundation
import Testing

struct GoldenTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Scripts")

    @Test(arguments: [
        "handshake", "join-and-sync", "member-dies", "slow-member", "static-restart", "fenced-instance",
        "leader-leaves", "commit-fencing", "coordinator-load", "next-generation",
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
