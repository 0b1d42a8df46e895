// Runs a golden script: lines that begin with ">" are what clients, the log and the clock do, what stands below each is
// what the coordinator did.

import Foundation
import Groups
import Model
import Wire

struct Script {
    private var desk = Desk()
    private var output: [String] = []
    /// Member ids end in a UUID; a script shows its number instead.
    private var numbers: [String: Int] = [:]

    /// The script with its outcome as it is now.
    static func replay(_ text: String) -> String {
        var script = Script()
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line.hasPrefix(">") {
                script.output.append(line)
                script.run(line.dropFirst().split(separator: " ").map(String.init))
                for traced in script.desk.trace { script.output.append("    " + script.short(traced)) }
                script.desk.trace = []
            } else if line.hasPrefix("#") || line.isEmpty {
                script.output.append(line)
            }
        }
        return script.output.joined(separator: "\n")
    }

    private mutating func short(_ line: String) -> String {
        var line = line
        while let range = line.range(
            of: "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", options: .regularExpression)
        {
            let id = String(line[range])
            let number = numbers[id] ?? numbers.count + 1
            numbers[id] = number
            line.replaceSubrange(range, with: "\(number)")
        }
        return line
    }

    private mutating func run(_ words: [String]) {
        let name = words.count > 1 ? words[1] : ""
        var pairs: [String: String] = [:]
        for word in words.dropFirst(2) {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { pairs[parts[0]] = parts[1] }
        }
        let number = Int64(words.last ?? "") ?? 0
        switch words.first {
        case "client": desk.clients[name] = client(desk.client(name), pairs)
        case "restart":
            desk.clients[name]?.memberID = ""
            desk.clients[name]?.generation = -1
        case "copy": desk.clients[words[2]] = desk.client(name)
        case "join": desk.join(name, reason: words.count > 2 ? words.dropFirst(2).joined(separator: " ") : nil)
        case "enter": desk.enter(name)
        case "sync": desk.sync(name, pairs)
        case "beat": desk.beat(name)
        case "leave": desk.leave(name)
        case "commit": desk.commit(name == "-" ? nil : name, number)
        case "fetch": desk.fetchAll()
        case "describe":
            var request = DescribeGroupsRequest()
            request.groups = ["g"]
            desk.ask(.describeGroups(request), version: 6)
        case "consume": desk.consume(name)
        case "lose": desk.consume(name, answered: false)
        case "wait": desk.advance(number)
        case "beating": beating(Array(words.dropFirst().dropLast()), number)
        case "hold": desk.commitsAtOnce = false
        case "release":
            desk.commitsAtOnce = true
            desk.commit()
        case "refuse": desk.refusal = name == "nothing" ? nil : .notEnoughReplicas
        case "failover": desk.failOver(through: name == "committed" ? desk.committed : nil)
        case "stall":
            desk.now = desk.now.advanced(byMs: number)
            let reading = desk.reading
            desk.input { $0.ticked(at: reading, into: &$1) }
        case "load":
            desk = Desk(loaded: false)
        case "loaded":
            desk.loadEnded()
        default: output.append("    unknown command")
        }
    }

    private func client(_ client: Client, _ pairs: [String: String]) -> Client {
        var client = client
        if let instance = pairs["instance"] { client.instanceID = instance }
        if let version = pairs["version"] { client.version = Int16(version) ?? 9 }
        if let timeout = pairs["session"] { client.sessionTimeoutMs = Int32(timeout) ?? 10_000 }
        if let timeout = pairs["rebalance"] { client.rebalanceTimeoutMs = Int32(timeout) ?? 60_000 }
        if let names = pairs["protocols"] {
            client.protocols = names.split(separator: ",").map { (String($0), client.protocols[0].topics) }
        }
        if let topics = pairs["topics"] {
            client.protocols = client.protocols.map { ($0.name, topics.split(separator: ",").map(String.init)) }
        }
        return client
    }

    /// Time in which these clients send their heartbeats, one every 3 s; only answers that are news are shown.
    private mutating func beating(_ names: [String], _ milliseconds: Int64) {
        var left = milliseconds
        while left > 0 {
            desk.advance(min(left, 3_000))
            left -= 3_000
            for name in names {
                let before = desk.trace
                if desk.beat(name) == ErrorCode.none { desk.trace = before }
            }
        }
    }
}
