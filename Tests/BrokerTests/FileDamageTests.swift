// Damage to each file that a node keeps beside its logs: the node serves what it served before, or it says what is
// wrong and serves nothing wrong (reliability.md §5, S4 and S8).

import Broker
import DiskSimulation
import Model
import NIOCore
import Records
import Testing
import Wire

/// The disks of a node that was killed in the middle of its work, and what it served.
private struct Sound {
    let control: SimulatedDisk
    let shard: SimulatedDisk
    /// Base offset and bytes of every batch that can be read, and where the log begins.
    var batches: [(offset: Offset, bytes: [UInt8])] = []
    var start: Offset = 0
    var epoch: LeaderEpoch = 0
    /// The same files some time before.
    var older: [String: [UInt8]] = [:]

    /// The last batch: a record at 0, then batches of two.
    static let retried = batch(2, valueBytes: 40, producer: 5, sequence: 17)
    static let retriedOffset: Offset = 17

    static func configure(_ configuration: inout NodeConfiguration) {
        configuration.log.metadataSegmentBytes = 700
        configuration.log.metadataSnapshotBytes = 900
    }

    init() throws {
        let (world, client) = try World.withTopics(["t", "u"], Sound.configure)
        let host = world.hosts[0]
        func produce(_ records: ByteBuffer) throws {
            let answer = try client.call(produceRequest("t", records), version: 9).only
            try Violation.unless(answer.errorCode == .none, "produce: \(answer.errorCode)")
        }
        try produce(batch(1, producer: 5, sequence: 0))
        for index in 0..<6 { try produce(batch(2, valueBytes: 40, producer: 5, sequence: Int32(index * 2 + 1))) }
        world.run(forMs: 3_000)
        for disk in [host.controlDisk, host.shardDisk] {
            for path in disk.filePaths { older[path] = disk.contents(of: path) }
        }
        _ = try client.call(deleteRequest(before: 1))
        _ = try client.call(createRequest(["v"]))
        for index in 6..<8 { try produce(batch(2, valueBytes: 40, producer: 5, sequence: Int32(index * 2 + 1))) }
        try produce(Sound.retried)
        world.run(forMs: 3_000)
        world.kill(host)
        (control, shard) = (host.controlDisk.afterCrash(nil), host.shardDisk.afterCrash(nil))
        switch try Restart(self).run() {
        case .serves(let served): (batches, start) = (served.batches, served.start)
        case .refuses(let reason): throw Violation(description: "a sound node does not serve: \(reason)")
        }
        try Violation.unless(
            batches.count > 6 && start == 1, "there is too little to damage: \(batches.count), \(start)")
    }
}

private struct Violation: Error, CustomStringConvertible {
    var description: String

    static func unless(_ holds: Bool, _ text: @autoclosure () -> String) throws {
        if !holds { throw Violation(description: text()) }
    }
}

/// What a client sees of a node that starts again.
private struct Served {
    var batches: [(offset: Offset, bytes: [UInt8])] = []
    var start: Offset = 0
    var retriedAt: Offset = -1
    var topics: [String] = []
}

private struct Restart {
    enum Result {
        case serves(Served)
        case refuses(String)
    }

    let world: World
    let host: Host

    init(_ sound: Sound) {
        world = World(nodes: 1, Sound.configure)
        // Not the incarnation that made the disks.
        world.seed = 1_000
        host = world.hosts[0]
        (host.controlDisk, host.shardDisk) = (sound.control.afterCrash(nil), sound.shard.afterCrash(nil))
    }

    private var words: String { host.lines.filter { $0.level != .debug }.map(\.text).joined(separator: "; ") }

    func run() throws -> Result {
        do { try world.start(host) } catch { return .refuses("\(error)") }
        world.run(forMs: 8_000) { host.isReady || host.halted != nil }
        if let reason = host.halted { return .refuses(reason) }
        guard host.isReady else {
            return .refuses(words)
        }
        var served = Served()
        let client = Client(host, world)
        // A broker is unfenced before it leads again.
        var beginning = try client.call(fetchRequest(offset: 0), version: 12).only
        for _ in 0..<10 where beginning.errorCode == .notLeaderOrFollower {
            world.run(forMs: 300)
            beginning = try client.call(fetchRequest(offset: 0), version: 12).only
        }
        served.start = beginning.logStartOffset
        var offset = served.start
        for _ in 0..<100 {
            let answer = try client.call(fetchRequest(offset: offset), version: 12).only
            if answer.errorCode != .none { return .refuses("fetch: \(answer.errorCode); \(words)") }
            guard let records = answer.records, records.readableBytes > 0 else { break }
            for (header, bytes) in BatchSequence(records) where header.nextOffset > offset {
                if !verifyCRC(of: bytes) { return .refuses("the client sees the CRC") }
                served.batches.append((header.baseOffset, Array(bytes.readableBytesView)))
                offset = header.nextOffset
            }
        }
        let again = try client.call(produceRequest("t", Sound.retried), version: 9).only
        served.retriedAt = again.errorCode == .none ? again.baseOffset : -2
        if let reason = host.halted { return .refuses(reason) }
        return .serves(served)
    }
}

@Suite struct FileDamageTests {
    private enum Owner { case control, shard }

    private struct Damage {
        var name: String
        var owner: Owner
        var apply: (SimulatedDisk) -> Void
    }

    private static func damages(_ sound: Sound, _ owner: Owner, _ isMeant: (String) -> Bool) -> [Damage] {
        let disk = owner == .control ? sound.control : sound.shard
        var all: [Damage] = []
        for path in disk.filePaths.filter(isMeant) {
            let bytes = disk.contents(of: path) ?? []
            func add(_ name: String, _ changed: [UInt8]?) {
                all.append(
                    Damage(name: "\(name) of \(path)", owner: owner) { disk in
                        if let changed { disk.overwrite(path, with: changed) } else { disk.lose(path) }
                    })
            }
            for index in bytes.indices {
                for bit in [index % 3, 6] {
                    var changed = bytes
                    changed[index] ^= 1 << UInt8(bit)
                    add("bit \(bit) of byte \(index)", changed)
                }
            }
            for length in stride(from: 0, to: bytes.count, by: 5) {
                add("the first \(length) bytes", Array(bytes.prefix(length)))
            }
            add("all but the last byte", bytes.dropLast())
            add("zeros at the end", bytes + Array(repeating: 0, count: 40))
            add("garbage at the end", bytes + (0..<40).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) })
            add("zeros instead", Array(repeating: 0, count: bytes.count))
            // No checksum tells that log starts were there, or were others: then deleted records come back.
            if path.hasSuffix("/log-start-offset-checkpoint") { continue }
            add("no file", nil)
            if let older = sound.older[path], older != bytes { add("an older state", older) }
        }
        return all
    }

    /// Answers how often the node served and how often it refused.
    private static func check(_ sound: Sound, _ damages: [Damage], every step: Int = 1) -> (served: Int, refused: Int) {
        var (served, refused, violations) = (0, 0, 0)
        for index in stride(from: 0, to: damages.count, by: step) where violations < 6 {
            let damage = damages[index]
            let restart = Restart(sound)
            damage.apply(damage.owner == .control ? restart.host.controlDisk : restart.host.shardDisk)
            do {
                switch try restart.run() {
                case .refuses(let reason):
                    refused += 1
                    try Violation.unless(!reason.isEmpty, "it says nothing")
                case .serves(let now):
                    served += 1
                    try Violation.unless(
                        now.start == sound.start, "S7: the log begins at \(now.start), not \(sound.start)")
                    let same = now.batches.elementsEqual(sound.batches) {
                        $0.offset == $1.offset && $0.bytes == $1.bytes
                    }
                    try Violation.unless(same, "S1: \(now.batches.map(\.offset)), not \(sound.batches.map(\.offset))")
                    try Violation.unless(now.retriedAt == Sound.retriedOffset, "I4: a retry got \(now.retriedAt)")
                }
            } catch {
                violations += 1
                Issue.record("\(damage.name): \(error)")
            }
        }
        return (served, refused)
    }

    @Test func damageToTheIdentityOrTheVoteIsRefusedOrHarmless() throws {
        let sound = try Sound()
        let all = Self.damages(sound, .control) { $0.hasSuffix("/meta.properties") || $0.hasSuffix("/quorum-state") }
        #expect(all.count > 400)
        let (served, refused) = Self.check(sound, all)
        print("identity and vote: \(all.count) damages, \(served) served as before, \(refused) refused")
        #expect(refused > 50)
    }

    /// A file of before: none of them had a checksum.
    private static func withoutChecksum(_ path: String, _ bytes: [UInt8]) -> [UInt8]? {
        let text = String(decoding: bytes, as: UTF8.self)
        for mark in ["# crc32c=", "crc32c: ", ",\"crc32c\":\"", ":crc32c 0 "] {
            guard let found = text.firstRange(of: mark) else { continue }
            var before = String(text[..<found.lowerBound])
            if path.hasSuffix("/quorum-state") { before += "}" }
            if path.hasSuffix("-offset-checkpoint") {
                var lines = before.split(separator: "\n").map(String.init)
                lines[1] = String(lines.count - 2)
                before = lines.joined(separator: "\n") + "\n"
            }
            return Array(before.utf8)
        }
        return nil
    }

    @Test func filesWithoutAChecksumAreStillRead() throws {
        let sound = try Sound()
        let restart = Restart(sound)
        var changed: [String] = []
        for disk in [restart.host.controlDisk, restart.host.shardDisk] {
            for path in disk.filePaths {
                guard let bytes = disk.contents(of: path), let older = Self.withoutChecksum(path, bytes) else {
                    continue
                }
                disk.overwrite(path, with: older)
                changed.append(path)
            }
        }
        // The identity, the vote, the metadata log's recovery point, three checkpoints and the topics.
        #expect(changed.count >= 8, "\(changed)")
        guard case .serves(let served) = try restart.run() else {
            Issue.record("files of before are refused")
            return
        }
        #expect(served.start == sound.start)
        #expect(served.batches.map(\.offset) == sound.batches.map(\.offset))
        #expect(served.retriedAt == Sound.retriedOffset)
        #expect(!restart.host.lines.contains { $0.text.contains("damaged") })
    }

    /// One of three that forgot its vote could cast it twice in an epoch.
    @Test(arguments: ["gone", "older", "flipped"])
    func aVoterThatLostItsVoteAbstainsAndSaysSo(_ damage: String) throws {
        let sound = try Sound()
        let restart = Restart(sound)
        let disk = restart.host.controlDisk
        let path = try #require(disk.filePaths.first { $0.hasSuffix("/quorum-state") })
        let bytes = try #require(disk.contents(of: path))
        switch damage {
        case "gone": disk.lose(path)
        case "older":
            let fresh = "{\"leaderId\":-1,\"leaderEpoch\":0,\"votedId\":-1,"
            let rest = "\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}"
            disk.overwrite(path, with: Array((fresh + rest).utf8))
        default:
            var changed = bytes
            changed[bytes.count / 2] ^= 1
            disk.overwrite(path, with: changed)
        }
        guard case .refuses(let reason) = try restart.run() else {
            Issue.record("a vote that is \(damage) is taken for none")
            return
        }
        #expect(reason.contains(path) && reason.contains("this node must not vote"), "\(reason)")
        #expect(!reason.contains("MetadataCorruption"), "\(reason)")
    }

    @Test func damageToTheMetadataLogIsRefusedOrHarmless() throws {
        let sound = try Sound()
        let all = Self.damages(sound, .control) { $0.contains("__cluster_metadata-0/0") || $0.contains("point-offset") }
        #expect(all.count > 1_000)
        let (served, refused) = Self.check(sound, all, every: 7)
        print("metadata log and snapshot: \(all.count) damages, \(served) served as before, \(refused) refused")
        #expect(refused > 50)
    }

    @Test func damageToTheCheckpointsOfPartitionsIsRefusedOrHarmless() throws {
        let sound = try Sound()
        let all = Self.damages(sound, .shard) {
            $0.hasSuffix("-checkpoint") || $0.hasSuffix(".snapshot") || $0.hasSuffix("t-0/partition.metadata")
        }
        #expect(all.count > 400)
        let (served, refused) = Self.check(sound, all)
        print("checkpoints of partitions: \(all.count) damages, \(served) served as before, \(refused) refused")
        #expect(served > 100)
    }
}
