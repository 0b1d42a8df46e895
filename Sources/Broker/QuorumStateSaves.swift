// The quorum-state file: epoch and vote, durable before they are told. JSON with Kafka's field names; one save at a
// time, the newest wins.

import Model
import NIOCore
import Raft
import Storage

struct QuorumStateSaves {
    /// The owner number of its flush tickets on Control's disk; the metadata log is 1.
    static let owner: UInt32 = 2

    private(set) var underWay: QuorumState?
    private var next: QuorumState?
    private var sequence: UInt64 = 0

    mutating func save(_ state: QuorumState, path: String, on disk: any Disk) {
        guard underWay == nil else {
            next = state
            return
        }
        underWay = state
        sequence += 1
        disk.replace(
            FlushTicket(owner: Self.owner, generation: 0, sequence: sequence), path: path, contents: Self.encode(state))
    }

    /// One is durable; the next, if any, is on its way.
    mutating func saved(path: String, on disk: any Disk) -> QuorumState? {
        let done = underWay
        underWay = nil
        if let next {
            self.next = nil
            save(next, path: path, on: disk)
        }
        return done
    }

    static func encode(_ state: QuorumState) -> ByteBuffer {
        let voted = state.voted
        let text =
            "{\"leaderId\":\(state.leaderID ?? -1),\"leaderEpoch\":\(state.epoch),\"votedId\":\(voted?.id ?? -1),"
            + "\"votedDirectoryId\":\"\(voted?.directoryID ?? .zero)\",\"data_version\":1"
        return ByteBuffer(string: "\(text)\(checksumMark)\(TextChecksum.of(text))\"}")
    }

    private static let checksumMark = ",\"crc32c\":\""

    /// A missing file is a fresh voter's; any other trouble is an error, because a forgotten vote may be cast twice.
    /// So is a state older than the log beside it: no epoch gets into the log that was not saved first.
    static func read(_ path: String, beside logEpoch: LeaderEpoch, on disk: any Disk) throws -> QuorumState {
        guard let text = try DataDirectory.readTextIfPresent(path, on: disk) else {
            guard logEpoch == 0 else {
                throw MetadataCorruption.abstention("\(path) is gone, and with it the vote")
            }
            return QuorumState()
        }
        guard let state = decode(text) else {
            throw MetadataCorruption.abstention("\(path) is damaged, and the vote in it is not known")
        }
        guard state.epoch >= logEpoch else {
            throw MetadataCorruption.abstention(
                "\(path) is older than the log beside it: epoch \(state.epoch), and \(logEpoch) there")
        }
        return state
    }

    private static func decode(_ text: String) -> QuorumState? {
        guard text.hasPrefix("{"), text.hasSuffix("}"),
            TextChecksum.holds(text, after: checksumMark, endingIn: "\"}")
        else { return nil }
        var fields: [String: String] = [:]
        for pair in text.dropFirst().dropLast().split(separator: ",") {
            let parts = pair.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { return nil }
            fields[parts[0].filter { $0 != "\"" && $0 != " " }] = parts[1].filter { $0 != "\"" && $0 != " " }
        }
        guard let leader = fields["leaderId"].flatMap({ NodeID($0) }),
            let epoch = fields["leaderEpoch"].flatMap({ LeaderEpoch($0) }),
            let voted = fields["votedId"].flatMap({ NodeID($0) }),
            let directoryID = fields["votedDirectoryId"].flatMap({ UUID128($0) })
        else { return nil }
        return QuorumState(
            epoch: epoch, leaderID: leader < 0 ? nil : leader,
            voted: voted < 0 ? nil : ReplicaKey(id: voted, directoryID: directoryID))
    }
}
