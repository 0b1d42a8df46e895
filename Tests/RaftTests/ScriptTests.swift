// Golden scripts: commands to a small quorum, and all that follows from them. `UPDATE_GOLDEN=1` writes the files anew;
// read the difference before you keep it.

import Foundation
import Model
import Raft
import Testing

struct ScriptTests {
    @Test(arguments: ["FirstElection", "PreVoteRefused", "Divergence", "LeaderDeath", "WipedVoter"])
    func everyStepIsAsWritten(script: String) throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scripts/\(script).txt")
        let written = try String(contentsOf: file, encoding: .utf8)
        let commands = written.split(separator: "\n", omittingEmptySubsequences: false).filter {
            $0.hasPrefix("#") || $0.hasPrefix(">")
        }
        var cluster = Cluster(nodes: 3, voters: 3, seed: 1)
        cluster.hasLoad = false
        cluster.keepsTrace = true
        cluster.delayMaxMs = 0
        cluster.provesDeath = false
        var lines: [String] = []
        for command in commands {
            lines.append(String(command))
            guard command.hasPrefix(">") else { continue }
            cluster.perform(command.dropFirst().split(separator: " ").map(String.init))
            lines += cluster.trace
            cluster.trace = []
        }
        #expect(cluster.checker.failures.isEmpty)
        let played = lines.joined(separator: "\n") + "\n"
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try played.write(to: file, atomically: true, encoding: .utf8)
        } else {
            let differs = zip(played.split(separator: "\n"), written.split(separator: "\n")).first { $0 != $1 }
            #expect(played == written, "\(script): played \(differs?.0 ?? "-"), written \(differs?.1 ?? "-")")
        }
    }
}

extension Cluster {
    mutating func perform(_ words: [String]) {
        let numbers = words.compactMap { Int($0) }
        switch words.first {
        case "run": run(until: now.advanced(byMs: Int64(numbers[0])))
        case "quietly":
            keepsTrace = false
            run(until: now.advanced(byMs: Int64(numbers[0])))
            keepsTrace = true
        case "crash": crash(numbers[0] - 1, power: true)
        case "start": start(numbers[0] - 1)
        case "wipe": wipe(numbers[0] - 1)
        case "died":
            for node in nodes.indices where nodes[node].raft != nil { step(node, .peerDied(NodeID(numbers[0]))) }
        case "proof": step(numbers[0] - 1, .peerDied(NodeID(numbers[1])))
        case "cut":
            for other in nodes.indices where other != numbers[0] - 1 {
                isCut[numbers[0] - 1][other] = true
                isCut[other][numbers[0] - 1] = true
            }
        case "heal": heal()
        case "append":
            let node = numbers[0] - 1
            let epoch = nodes[node].raft?.epoch ?? 0
            append((0..<numbers[1]).map { _ in Entry(epoch: epoch, record: newRecord(), voters: nil) }, node)
        case "remove": step(numbers[0] - 1, .voterRemovalRequested(oldKey(numbers[1], numbers[2]), 900))
        case "add":
            let key = oldKey(numbers[1], numbers[2])
            step(numbers[0] - 1, .voterAdditionRequested(Voter(key: key, endpoint: Self.endpoint(key.id)), 901))
        default: fatalError("no such command: \(words)")
        }
    }

    private func oldKey(_ id: Int, _ directory: Int) -> ReplicaKey {
        ReplicaKey(id: NodeID(id), directoryID: UUID128(low: UInt64(directory)))
    }
}
