// Damaged replicas: who finds out, who leads meanwhile, and what the copy holds afterwards.

import Broker
import DiskSimulation
import Metadata
import Model
import NIOCore
import Replication
import Storage
import Testing
import Wire

private let path = "/d/t-0/"
private func segmentPath(_ base: Offset) -> String { SegmentFiles.path("/d/t-0", base, ".log") }

/// Three nodes, one topic of small segments, every record on all three.
private struct Damaged {
    let world: World
    let client: Client
    let topicID: UUID128

    init(
        nodes: Int? = nil, replicas: Int = 3, shards: Int = 1, scrubIntervalMs: Int64 = 1 << 40,
        segmentBytes: Int = 2_000, records: Int = 60, configs: [(String, String)] = []
    ) throws {
        world = try World.running(nodes: nodes ?? replicas, shards: shards) {
            $0.topicDefaults["log.segment.bytes"] = "\(segmentBytes)"
            $0.log.scrubIntervalMs = scrubIntervalMs
        }
        client = Client(world.hosts[0], world)
        let request = createRequest(["t"], replicas: Int16(replicas), configs: configs)
        #expect(try client.call(request).topics.map(\.errorCode) == [.none])
        topicID = try #require(world.leader()?.node?.control.inspectedImage.topics.values.first?.id)
        for sequence in 0..<records { try produce(sequence) }
        // The recovery point is noted, and followers know what is committed.
        world.run(forMs: 3_000)
    }

    func produce(_ number: Int) throws {
        let leader = try #require(leader)
        let answer = try Client(leader, world).call(
            produceRequest("t", batch(1, valueBytes: 100 + number % 7, timestampMs: Int64(number))), version: 9)
        #expect(answer.only.errorCode == .none)
    }

    var registration: PartitionRegistration? {
        world.leader()?.node?.control.inspectedImage.partition(TopicPartition(topicID, 0))
    }

    var leader: Host? {
        world.run(forMs: 5_000) { registration?.leader != nil }
        return world.hosts.first { $0.id == registration?.leader }
    }

    var follower: Host? { world.hosts.first { $0.id != registration?.leader } }

    func isWhole() -> Bool {
        registration?.isr.count == world.hosts.count
            && registration?.directories.contains(DirectoryID.lost) == false
    }

    /// All of each node's log files, one behind the other.
    func bytes(of host: Host) -> [UInt8] {
        host.shardDisk.filePaths.filter { $0.hasPrefix(path) && $0.hasSuffix(".log") }
            .flatMap { host.shardDisk.contents(of: $0) ?? [] }
    }

    /// Without showing the bytes where they differ.
    func expectEqual(_ a: Host, _ b: Host) {
        let (first, second) = (bytes(of: a), bytes(of: b))
        let isEqual = first == second
        #expect(
            isEqual,
            "\(a.id): \(first.count) bytes in \(segments(of: a)), \(b.id): \(second.count) in \(segments(of: b))"
        )
    }

    static let recoveryPoints = "/d/recovery-point-offset-checkpoint"

    /// Zeroes in place of all but the first bytes of the log, through all its files.
    func blank(_ host: Host, from position: Int) {
        var left = position
        for file in segments(of: host) {
            let contents = host.shardDisk.contents(of: file) ?? []
            let kept = min(left, contents.count)
            left -= kept
            host.shardDisk.overwrite(
                file, with: contents.prefix(kept) + [UInt8](repeating: 0, count: contents.count - kept))
        }
    }

    func segments(of host: Host) -> [String] {
        host.shardDisk.filePaths.filter { $0.hasPrefix(path) && $0.hasSuffix(".log") }
    }

    func expectRepaired(_ host: Host) {
        world.run(forMs: 20_000) {
            isWhole() && host.lines.contains { $0.text.contains("is repaired") }
                && world.hosts.allSatisfy { bytes(of: $0) == bytes(of: host) }
        }
        #expect(isWhole(), "\(String(describing: registration))")
        #expect(host.lines.contains { $0.text.contains("is repaired") }, "\(host.lines.suffix(5).map(\.text))")
        for other in world.hosts { expectEqual(other, host) }
        #expect(world.hosts.allSatisfy { $0.halted == nil })
        #expect(host.shardDisk.filePaths.allSatisfy { !$0.hasSuffix(".cleaned") })
    }
}

struct RepairTests {
    /// Each spot of the last segment below the recovery point: at its first byte, in a header, in a record.
    @Test(arguments: [0, 7, 16, 30, 90, 400])
    func aFlippedBitIsFoundAtTheStartAndRepairedInPlace(position: Int) throws {
        let damaged = try Damaged()
        let host = try #require(damaged.follower)
        damaged.world.kill(host)
        let last = try #require(damaged.segments(of: host).last)
        host.shardDisk.corrupt(last, at: position)
        try damaged.world.start(host)
        damaged.expectRepaired(host)
        try damaged.produce(100)
    }

    /// That records are not in memory is no reason to say that there are none.
    @Test(arguments: [1, 2, 3]) func aRepairFromAPeerWithAColdMemoryDropsNothing(shards: Int) throws {
        let damaged = try Damaged(shards: shards)
        let host = try #require(damaged.follower)
        damaged.world.kill(host)
        host.shardDisk.corrupt(try #require(damaged.segments(of: host).last), at: 90)
        for host in damaged.world.hosts { host.shardDisk.coldOneIn = 1 }
        try damaged.world.start(host)
        damaged.expectRepaired(host)
        #expect(!host.lines.contains { $0.text.contains("this copy goes on from there") })
    }

    /// In the last segment, met by the opening, and in the first one, met by its survey or a reader.
    @Test(arguments: [(false, 0), (false, 700), (true, 0), (true, 700)])
    func aBadSectorIsReadFromThePeers(isFirst: Bool, position: Int) throws {
        let damaged = try Damaged()
        let host = try #require(damaged.follower)
        damaged.world.kill(host)
        let files = damaged.segments(of: host)
        let file = isFirst ? files[0] : files[files.count - 1]
        host.shardDisk.spoilSector(file, at: position)
        // What is missing behind a segment is looked for in that first.
        if isFirst { host.shardDisk.lose(files[1]) }
        try damaged.world.start(host)
        damaged.expectRepaired(host)
        try damaged.produce(100)
    }

    @Test func aReaderWhoMeetsABadSectorGetsNothingAndTheLeaderGivesWay() throws {
        let damaged = try Damaged()
        let leader = try #require(damaged.leader)
        leader.shardDisk.spoilSector(segmentPath(0), at: 600)
        damaged.world.run(forMs: 130_000)
        let refused = try Client(leader, damaged.world).call(fetchRequest(offset: 0), version: 12).only
        #expect(refused.errorCode == .kafkaStorageError)
        damaged.expectRepaired(leader)
        #expect(leader.halted == nil)
    }

    /// What was written last lies above the recovery point. A torn tail is cut off there; what the disk does not give
    /// is no torn tail, and with two replicas of two in sync the other has no high watermark above it.
    @Test func aBadSectorAboveTheRecoveryPointIsNoTornTail() throws {
        let damaged = try Damaged(replicas: 2, configs: [("min.insync.replicas", "2")])
        let host = try #require(damaged.follower)
        for number in 60..<64 { try damaged.produce(number) }
        let hosts = damaged.world.hosts
        for host in hosts { damaged.world.kill(host) }
        let last = try #require(damaged.segments(of: host).last)
        let contents = try #require(host.shardDisk.contents(of: last))
        host.shardDisk.spoilSector(last, at: contents.count - 1)
        for host in hosts { try damaged.world.start(host) }
        damaged.expectRepaired(host)
        // The leader's shard hears of the ISR a moment after the controller.
        damaged.world.run(forMs: 1_000)
        try damaged.produce(100)
    }

    /// One node was away when the last records were acknowledged, one holds them and is down, and the third, alone in
    /// sync, comes back with damage from below its recovery point to its end, in one file or through several: all that
    /// can be had from the others now is less than what it acknowledged.
    @Test(arguments: [100_000, 2_000])
    func whoHasLostItsEndDoesNotLeadBeforeOneThatMayHaveAll(segmentBytes: Int) throws {
        // Small segments end at the recovery point.
        let damaged = try Damaged(
            nodes: 5, segmentBytes: segmentBytes, records: 66, configs: [("min.insync.replicas", "2")])
        let world = damaged.world
        let leader = try #require(damaged.leader)
        let replicas = try #require(damaged.registration?.replicas)
        let followers = world.hosts.filter { $0 !== leader && replicas.contains($0.id) }
        let (away, eligible) = (followers[0], followers[1])
        let checkpoint = try #require(leader.shardDisk.contents(of: Damaged.recoveryPoints))
        world.kill(away)
        world.run(forMs: 20_000) { damaged.registration?.isr.count == 2 }
        for number in 66..<90 { try damaged.produce(number) }
        let all = damaged.bytes(of: leader)
        world.kill(eligible)
        world.run(forMs: 20_000) { damaged.registration?.isr == [leader.id] }
        #expect(damaged.registration?.eligibleLeaderReplicas == [eligible.id])
        world.kill(leader)
        leader.shardDisk.overwrite(Damaged.recoveryPoints, with: checkpoint)
        damaged.blank(leader, from: 5_000)

        // Twice, because a restart must find the same.
        try world.start(away)
        for _ in 0..<2 {
            try world.start(leader)
            world.run(forMs: 20_000) { leader.lines.contains { $0.text.contains("has to lead first") } }
            #expect(leader.lines.contains { $0.text.contains("has to lead first") })
            world.run(forMs: 5_000)
            let registration = try #require(damaged.registration)
            #expect(registration.leader == nil)
            world.kill(leader)
            leader.lines = []
        }
        try world.start(leader)
        try world.start(eligible)
        world.run(forMs: 20_000) {
            damaged.registration?.isr.count == 3
                && [leader, away, eligible].allSatisfy { damaged.bytes(of: $0) == all }
        }
        #expect(damaged.registration?.isr.count == 3)
        for host in [leader, away, eligible] {
            let isAll = damaged.bytes(of: host) == all
            #expect(isAll, "node \(host.id) holds \(damaged.bytes(of: host).count) bytes of \(all.count)")
        }
        try damaged.produce(100)
    }

    /// Where nobody else is to lead, what could be had has to do.
    @Test(arguments: [100_000, 2_000])
    func whoHasLostItsEndAndIsAloneGoesOn(segmentBytes: Int) throws {
        let damaged = try Damaged(nodes: 3, replicas: 2, segmentBytes: segmentBytes, records: 66)
        let world = damaged.world
        let leader = try #require(damaged.leader)
        let replicas = try #require(damaged.registration?.replicas)
        let away = try #require(world.hosts.first { $0 !== leader && replicas.contains($0.id) })
        let checkpoint = try #require(leader.shardDisk.contents(of: Damaged.recoveryPoints))
        let promised = damaged.bytes(of: leader)
        world.kill(away)
        world.run(forMs: 20_000) { damaged.registration?.isr == [leader.id] }
        for number in 66..<90 { try damaged.produce(number) }
        world.kill(leader)
        leader.shardDisk.overwrite(Damaged.recoveryPoints, with: checkpoint)
        damaged.blank(leader, from: 5_000)
        try world.start(leader)
        try world.start(away)
        world.run(forMs: 30_000) { damaged.registration?.isr.count == 2 }
        #expect(damaged.registration?.isr.count == 2)
        let isPromised = damaged.bytes(of: leader) == promised
        #expect(isPromised, "\(damaged.bytes(of: leader).count) bytes, \(promised.count) were promised")
        try damaged.produce(100)
    }

    @Test func aLogStartInsideABatchThatIsGoneBeginsThereAgain() throws {
        let damaged = try Damaged(records: 0)
        for number in 0..<40 {
            let leader = try #require(damaged.leader)
            let answer = try Client(leader, damaged.world).call(
                produceRequest("t", batch(3, valueBytes: 100, timestampMs: Int64(number))), version: 9)
            #expect(answer.only.errorCode == .none)
        }
        damaged.world.run(forMs: 3_000)
        let leader = try #require(damaged.leader)
        #expect(try Client(leader, damaged.world).call(deleteRequest(before: 10)).only.lowWatermark == 10)
        damaged.world.run(forMs: 3_000)
        let host = try #require(damaged.follower)
        damaged.world.kill(host)
        host.shardDisk.lose(damaged.segments(of: host)[0])
        try damaged.world.start(host)
        damaged.world.run(forMs: 20_000) {
            damaged.isWhole() && host.lines.contains { $0.text.contains("is repaired") }
                && damaged.bytes(of: leader).suffix(damaged.bytes(of: host).count) == damaged.bytes(of: host)[...]
        }
        #expect(damaged.isWhole() && host.lines.contains { $0.text.contains("is repaired") })
        // It begins with the batch that holds the log start; the others keep what lies before in that segment.
        #expect(damaged.segments(of: host).first == segmentPath(9))
        let isEqual = damaged.bytes(of: leader).suffix(damaged.bytes(of: host).count) == damaged.bytes(of: host)[...]
        #expect(isEqual)
    }

    /// Behind the damage a survey finds a batch that nobody else has: once it was written, and never committed.
    @Test func aSoundBatchBehindTheLeadersEndIsDropped() throws {
        let damaged = try Damaged()
        let host = try #require(damaged.follower)
        damaged.world.kill(host)
        let last = try #require(damaged.segments(of: host).last)
        let contents = try #require(host.shardDisk.contents(of: last))
        var stray = contents
        stray[6] += 5
        // What does not follow on is searched for from the next byte on.
        host.shardDisk.overwrite(last, with: contents + [0] + stray)
        host.shardDisk.corrupt(last, at: 90)
        try damaged.world.start(host)
        damaged.expectRepaired(host)
        try damaged.produce(100)
    }

    @Test func aMissingSegmentIsHadFromThePeers() throws {
        for index in [0, 1, -1] {
            let damaged = try Damaged()
            let host = try #require(damaged.follower)
            damaged.world.kill(host)
            let files = damaged.segments(of: host)
            try #require(files.count > 3)
            host.shardDisk.lose(index < 0 ? files[files.count - 1] : files[index])
            try damaged.world.start(host)
            damaged.expectRepaired(host)
        }
    }

    @Test func aShortenedSegmentIsFilledUp() throws {
        let damaged = try Damaged()
        let host = try #require(damaged.follower)
        damaged.world.kill(host)
        for file in damaged.segments(of: host).suffix(2) {
            let contents = try #require(host.shardDisk.contents(of: file))
            host.shardDisk.overwrite(file, with: Array(contents.prefix(contents.count / 2)))
        }
        try damaged.world.start(host)
        damaged.expectRepaired(host)
    }

    @Test func allFilesOfALogAreGone() throws {
        let damaged = try Damaged()
        let host = try #require(damaged.follower)
        damaged.world.kill(host)
        for file in damaged.segments(of: host) { host.shardDisk.lose(file) }
        try damaged.world.start(host)
        damaged.expectRepaired(host)
    }

    /// A directory that names another topic by one flipped bit is not this one's any more; what was in the ISR with it
    /// must not come back empty.
    @Test(arguments: [false, true])
    func aFlippedTopicIDIsDamageAndNoOtherTopic(isLeader: Bool) throws {
        let damaged = try Damaged()
        let host = try #require(isLeader ? damaged.leader : damaged.follower)
        for other in damaged.world.hosts { damaged.world.kill(other) }
        let file = path + "partition.metadata"
        let contents = try #require(host.shardDisk.contents(of: file))
        let digits = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
        let position = try #require((21..<42).first { digits.contains(contents[$0] ^ 1) })
        host.shardDisk.corrupt(file, at: position)
        try damaged.world.start(host)
        damaged.world.run(forMs: 2_000)
        for other in damaged.world.hosts where other !== host { try damaged.world.start(other) }
        damaged.expectRepaired(host)
        try damaged.produce(100)
    }

    @Test func theScrubFindsWhatNobodyReadsAndTheLeaderGivesWay() throws {
        let damaged = try Damaged(scrubIntervalMs: 60_000)
        let leader = try #require(damaged.leader)
        leader.shardDisk.corrupt(segmentPath(0), at: 100)
        damaged.world.run(forMs: 130_000) { leader.lines.contains { $0.text.contains("is damaged") } }
        #expect(leader.lines.contains { $0.text.contains("is damaged") })
        damaged.expectRepaired(leader)
        try damaged.produce(100)
    }

    @Test func aReaderNeverGetsDamagedBytes() throws {
        let damaged = try Damaged()
        let leader = try #require(damaged.leader)
        leader.shardDisk.corrupt(segmentPath(0), at: 100)
        damaged.world.run(forMs: 130_000)
        #expect(damaged.isWhole(), "nobody has looked")
        let refused = try Client(leader, damaged.world).call(fetchRequest(offset: 0), version: 12).only
        #expect(refused.errorCode == .kafkaStorageError)
        #expect(refused.records?.readableBytes ?? 0 == 0)
        damaged.expectRepaired(leader)
        let next = try #require(damaged.leader)
        let read = try Client(next, damaged.world).call(fetchRequest(offset: 0), version: 12).only
        #expect(read.errorCode == .none && read.records?.readableBytes ?? 0 > 0)
    }

    @Test func copiesWithDifferentDamageRepairEachOther() throws {
        let damaged = try Damaged()
        let hosts = damaged.world.hosts
        for host in hosts { damaged.world.kill(host) }
        let spoilt = [segmentPath(0), damaged.segments(of: hosts[1])[2], damaged.segments(of: hosts[2])[3]]
        for (host, file) in zip(hosts, spoilt) {
            let contents = try #require(host.shardDisk.contents(of: file))
            host.shardDisk.overwrite(file, with: Array(contents.prefix(contents.count / 2)))
        }
        for host in hosts { try damaged.world.start(host) }
        damaged.world.run(forMs: 60_000) { damaged.isWhole() }
        #expect(damaged.isWhole(), "\(String(describing: damaged.registration))")
        damaged.expectEqual(hosts[0], hosts[1])
        damaged.expectEqual(hosts[1], hosts[2])
        try damaged.produce(100)
    }

    @Test func theOnlyCopyGoesOfflineAndTheNodeGoesOn() throws {
        let damaged = try Damaged(replicas: 1)
        let host = damaged.world.hosts[0]
        #expect(try damaged.client.call(createRequest(["u"])).topics.map(\.errorCode) == [.none])
        damaged.world.kill(host)
        let last = try #require(damaged.segments(of: host).last)
        let spoilt = try #require(host.shardDisk.contents(of: last))
        host.shardDisk.corrupt(last, at: 30)
        try damaged.world.start(host)
        damaged.world.run(forMs: 5_000)
        let client = Client(host, damaged.world)
        #expect(try client.call(produceRequest("u"), version: 9).only.errorCode == .none)
        #expect(try client.call(produceRequest("t"), version: 9).only.errorCode == .notLeaderOrFollower)
        #expect(host.lines.filter { $0.text.contains("no other replica gives") }.count == 1)
        #expect(host.halted == nil)
        // Not a byte was cut off, and when the file is put back it is believed.
        damaged.world.kill(host)
        #expect(host.shardDisk.contents(of: last)?.count == spoilt.count)
        host.shardDisk.overwrite(last, with: spoilt)
        try damaged.world.start(host)
        damaged.world.run(forMs: 5_000)
        let answer = try Client(host, damaged.world).call(produceRequest("t"), version: 9).only
        #expect(answer.errorCode == .none && answer.baseOffset == 60)
    }

    @Test func aRepairThatIsKilledBeginsAgain() throws {
        for delayMs in [1, 40, 80, 200, 600] as [Int64] {
            let damaged = try Damaged()
            let host = try #require(damaged.follower)
            damaged.world.kill(host)
            for file in damaged.segments(of: host).suffix(1) { host.shardDisk.corrupt(file, at: 100) }
            try damaged.world.start(host)
            damaged.world.run(forMs: 5_000) { host.lines.contains { $0.text.contains("is damaged") } }
            damaged.world.run(forMs: delayMs)
            damaged.world.kill(host)
            try damaged.world.start(host)
            damaged.expectRepaired(host)
        }
    }
}
