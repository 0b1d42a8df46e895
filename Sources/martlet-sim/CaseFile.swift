// Cases as files of JSON, small enough to read. A field that a file does not name has its plain value: cases stay good
// when the world learns more.

import Foundation
import Simulation

enum CaseFile {
    struct Unreadable: Error, CustomStringConvertible {
        var description: String
    }

    static func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
    }

    static func write(_ found: SimulationCase, to path: String) throws {
        try text(found).write(toFile: path, atomically: true, encoding: .utf8)
    }

    static func read(_ path: String) throws -> SimulationCase {
        let plain = try JSONSerialization.jsonObject(with: JSONEncoder().encode(Swarm.plain)) as? [String: Any]
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        guard var object = try JSONSerialization.jsonObject(with: data) as? [String: Any],
            let own = object["swarm"] as? [String: Any], let plain
        else { throw Unreadable(description: "\(path) holds no case") }
        object["swarm"] = plain.merging(own) { _, own in own }
        return try JSONDecoder().decode(
            SimulationCase.self, from: JSONSerialization.data(withJSONObject: object))
    }
}
