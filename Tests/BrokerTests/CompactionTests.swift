// Compacted topics in whole nodes: what readers see, what is on the disks, and when a tombstone may go.

import Broker
import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing
import Wire

/// One batch of keyed records; nil is a tombstone.
private func keyed(_ records: [(key: String, value: String?)], atMs: Int64) -> ByteBuffer {
    var builder = RecordBatchBuilder(producerID: -1, producerEpoch: -1, baseSequence: -1)
    for record in records {
        builder.append(
            timestamp: 1_700_000_000_000 + atMs, key: ByteBuffer(string: record.key),
            value: record.value.map { ByteBuffer(string: $0) })
    }
    return builder.build()
}

/// A cluster with one compacted topic whose segments are one batch each.
private final class Compacted {
    let world: World
    var clockMs: Int64 = 0

    init(nodes: Int, configs: [(String, String)] = []) throws {
        world = try World.running(nodes: nodes) {
            $0.log.cleanerBackoffMs = 100
            $0.log.retentionCheckIntervalMs = 2_000
            $0.topicDefaults["log.segment.delete.delay.ms"] = "10"
        }
        let policy = [("cleanup.policy", "compact"), ("segment.ms", "50"), ("min.cleanable.dirty.ratio", "0.1")]
        let all = policy.filter { own in !configs.contains { $0.0 == own.0 } } + configs
        let answer = try Client(world.hosts[0], world).call(createRequest(["t"], replicas: Int16(nodes), configs: all))
        #expect(answer.topics.map(\.errorCode) == [.none])
        world.run(forMs: 500)
    }

    func leader() throws -> Host {
        var found: Host?
        for _ in 0..<50 {
            for host in world.hosts {
                host.node?.shards[0].inspectReplicas { if $0.isLeader { found = host } }
            }
            if let found { return found }
            world.run(forMs: 100)
        }
        throw WorldError.nobodyLeads
    }

    enum WorldError: Error { case nobodyLeads }

    @discardableResult
    func put(_ records: [(key: String, value: String?)]) throws -> ErrorCode {
        clockMs += 100
        let request = produceRequest("t", keyed(records, atMs: clockMs))
        for _ in 0..<20 {
            let answer = try Client(try leader(), world).call(request, version: 9).only
            if answer.errorCode == .none || !answer.errorCode.isRetriable { return answer.errorCode }
            world.run(forMs: 200)
        }
        return .requestTimedOut
    }

    /// Every record that a consumer of this node's copy would get, in order.
    func records(on host: Host) throws -> [(offset: Offset, key: String, value: String?)] {
        var found: [(offset: Offset, key: String, value: String?)] = []
        var failure: (any Error)?
        host.node?.shards[0].inspectReplicas { replica in
            do {
                var next = replica.log.startOffset
                while let slice = try replica.log.inspect(from: next, maxBytes: 1 << 20, below: replica.highWatermark) {
                    for (_, batch) in BatchSequence(try replica.log.bytes(of: slice)) {
                        for record in try decodeRecords(batch) {
                            found.append(
                                (
                                    record.offset, record.key.map { String(buffer: $0) } ?? "",
                                    record.value.map { String(buffer: $0) }
                                ))
                        }
                    }
                    next = slice.nextOffset
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return found
    }

    func segments(on host: Host) -> Int {
        var count = 0
        host.node?.shards[0].inspectReplicas { count = $0.log.segmentSummaries.count }
        return count
    }
}

struct CompactionTests {
    @Test func everyCopyKeepsTheLastOfEachKeyAndShrinks() throws {
        let compacted = try Compacted(nodes: 3)
        let world = compacted.world
        for round in 0..<40 {
            #expect(try compacted.put([("a", "\(round)"), ("b", "\(-round)"), ("k\(round % 4)", "x")]) == .none)
        }
        let hosts = world.hosts
        world.run(forMs: 20_000) { hosts.allSatisfy { compacted.segments(on: $0) < 6 } }
        // Followers hear of the last commits a moment later.
        world.run(forMs: 1_000)
        for host in hosts {
            #expect(compacted.segments(on: host) < 6)
            let records = try compacted.records(on: host)
            #expect(records.count < 20)
            #expect(records.last { $0.key == "a" }?.value == "39" && records.last { $0.key == "b" }?.value == "-39")
            #expect((0..<4).allSatisfy { key in records.contains { $0.key == "k\(key)" } })
        }

        // A consumer walks over what is gone.
        let client = Client(try compacted.leader(), world)
        var next: Offset = 0
        var answers = 0
        while next < 120 {
            let answer = try client.call(fetchRequest(offset: next, partitionMaxBytes: 200), version: 12).only
            let batches = BatchSequence(try #require(answer.records)).map(\.0)
            #expect(batches.contains { $0.recordsCount > 0 }, "an answer of \(next) without a record")
            next = try #require(batches.last?.nextOffset)
            answers += 1
        }
        #expect(next == 120 && answers < 20)

        // How far they are clean outlives the nodes.
        world.run(forMs: 1_500)
        for host in hosts {
            world.kill(host)
            let text = try #require(host.shardDisk.contents(of: "/d/cleaner-offset-checkpoint"))
            #expect(String(decoding: text, as: UTF8.self).hasPrefix("0\n2\nt 0 1"))
            try world.start(host)
        }
        world.run(forMs: 8_000) { hosts.allSatisfy(\.isReady) }
        #expect(try compacted.put([("a", "40")]) == .none)
        for host in hosts { #expect(host.halted == nil) }
    }

    /// One copy is away with a record whose tombstone the others would drop by time alone.
    @Test func aTombstoneWaitsForTheCopyThatIsAway() throws {
        let compacted = try Compacted(nodes: 3, configs: [("delete.retention.ms", "0")])
        let world = compacted.world
        #expect(try compacted.put([("gone", "1"), ("a", "0")]) == .none)
        world.run(forMs: 1_000)
        let leader = try compacted.leader()
        let away = try #require(world.hosts.first { $0.id != leader.id })
        let present = world.hosts.filter { $0.id != away.id }
        world.kill(away)
        world.run(forMs: 3_000)
        #expect(try compacted.put([("gone", nil)]) == .none)
        for round in 0..<20 { #expect(try compacted.put([("a", "\(round)")]) == .none) }
        for round in 20..<26 {
            #expect(try compacted.put([("a", "\(round)")]) == .none)
            world.run(forMs: 2_000)
        }
        for host in present {
            let records = try compacted.records(on: host)
            #expect(records.filter { $0.key == "gone" }.map(\.value) == [nil])
            #expect(records.filter { $0.key == "a" }.count < 8)
        }

        try world.start(away)
        world.run(forMs: 8_000) { away.isReady }
        for round in 26..<60 where try compacted.records(on: leader).contains(where: { $0.key == "gone" }) {
            #expect(try compacted.put([("a", "\(round)")]) == .none)
            world.run(forMs: 1_000)
        }
        world.run(forMs: 2_000)
        for round in 60..<66 {
            #expect(try compacted.put([("a", "\(round)")]) == .none)
            world.run(forMs: 2_000)
        }
        for host in world.hosts {
            #expect(try compacted.records(on: host).allSatisfy { $0.key != "gone" }, "node \(host.id)")
        }
    }

    @Test func aLoneCopyDropsATombstoneWhenItsTimeHasCome() throws {
        let compacted = try Compacted(nodes: 1, configs: [("delete.retention.ms", "20000")])
        let (world, host) = (compacted.world, compacted.world.hosts[0])
        #expect(try compacted.put([("gone", "1")]) == .none)
        #expect(try compacted.put([("gone", nil)]) == .none)
        for round in 0..<5 {
            #expect(try compacted.put([("a", "\(round)")]) == .none)
            world.run(forMs: 1_000)
        }
        #expect(try compacted.records(on: host).filter { $0.key == "gone" }.map(\.value) == [nil])
        world.run(forMs: 25_000)
        for round in 5..<8 {
            #expect(try compacted.put([("a", "\(round)")]) == .none)
            world.run(forMs: 1_000)
        }
        #expect(try compacted.records(on: host).allSatisfy { $0.key == "a" })
    }

    /// What a reader got from the copy that was cleaned last, it must hear the end of, also from the others.
    @Test func aTombstoneStaysAsLongBehindTheLastCopysCleaning() throws {
        let compacted = try Compacted(nodes: 3, configs: [("delete.retention.ms", "20000")])
        let (world, leader) = (compacted.world, try compacted.leader())
        leader.shardDisk.noSpaceForNamesEndingIn = ".cleaned"
        #expect(try compacted.put([("gone", "1")]) == .none)
        #expect(try compacted.put([("gone", nil)]) == .none)
        func goOn(_ rounds: Range<Int>) throws {
            for round in rounds {
                #expect(try compacted.put([("a", "\(round)")]) == .none)
                world.run(forMs: 1_000)
            }
        }
        func gone(on host: Host) throws -> [String?] {
            try compacted.records(on: host).filter { $0.key == "gone" }.map(\.value)
        }
        try goOn(0..<40)
        let others = world.hosts.filter { $0.id != leader.id }
        #expect(try gone(on: leader) == ["1", nil])
        for host in others { #expect(try gone(on: host) == [nil]) }
        leader.shardDisk.noSpaceForNamesEndingIn = nil
        try goOn(40..<52)
        for host in world.hosts { #expect(try gone(on: host) == [nil], "node \(host.id)") }
        try goOn(52..<80)
        for host in world.hosts { #expect(try gone(on: host).isEmpty, "node \(host.id)") }
        #expect(try compacted.leader() === leader)
    }

    /// Where nothing had to go, nothing was written anew.
    @Test func aLogThatHadNothingToCleanStaysClean() throws {
        let compacted = try Compacted(nodes: 1)
        let (world, host) = (compacted.world, compacted.world.hosts[0])
        #expect(try compacted.put([("a", "1"), ("b", "1")]) == .none)
        #expect(try compacted.put([("c", "1")]) == .none)
        world.run(forMs: 4_000)
        #expect(compacted.segments(on: host) == 2)
        world.kill(host)
        let text = try #require(host.shardDisk.contents(of: "/d/cleaner-offset-checkpoint"))
        #expect(String(decoding: text, as: UTF8.self).hasPrefix("0\n2\nt 0 2\n"))
    }

    /// More segments than one look of the cleaner takes in.
    @Test func theLogThatNeedsItIsFoundAmongMany() throws {
        let compacted = try Compacted(nodes: 1)
        let (world, host) = (compacted.world, compacted.world.hosts[0])
        var many = createRequest(["many"], replicas: 1, configs: [("cleanup.policy", "compact")])
        many.topics[0].numPartitions = 600
        #expect(try Client(host, world).call(many).topics.map(\.errorCode) == [.none])
        world.run(forMs: 1_000)
        for round in 0..<10 { #expect(try compacted.put([("a", "\(round)")]) == .none) }
        func segments() -> Int {
            var count = 0
            host.node?.shards[0].inspectReplicas { count = max(count, $0.log.segmentSummaries.count) }
            return count
        }
        #expect(segments() == 10)
        world.run(forMs: 5_000) { segments() < 4 }
        #expect(segments() < 4)
    }

    @Test func aRecordWithoutAKeyIsRefused() throws {
        let compacted = try Compacted(nodes: 1)
        let client = Client(compacted.world.hosts[0], compacted.world)
        let refused = try client.call(produceRequest("t", batch(2)), version: 9).only
        #expect(refused.errorCode == .invalidRecord && refused.errorMessage?.contains("key") == true)
        #expect(try compacted.put([("a", "1")]) == .none)

        // The policy is a topic's choice at any time.
        var change = IncrementalAlterConfigsRequest()
        var resource = IncrementalAlterConfigsRequest.Resource()
        resource.resourceType = 2
        resource.resourceName = "t"
        var config = IncrementalAlterConfigsRequest.Config()
        config.name = "cleanup.policy"
        config.value = "delete"
        resource.configs = [config]
        change.resources = [resource]
        #expect(try client.call(change).responses.map(\.errorCode) == [.none])
        compacted.world.run(forMs: 500)
        #expect(try client.call(produceRequest("t", batch(2)), version: 9).only.errorCode == .none)
    }

    @Test func retentionLeavesACompactedTopicAloneUnlessToldToDeleteToo() throws {
        for (policy, isDeleted) in [("compact", false), ("compact,delete", true)] {
            let compacted = try Compacted(
                nodes: 1, configs: [("cleanup.policy", policy), ("retention.ms", "1000")])
            let (world, host) = (compacted.world, compacted.world.hosts[0])
            for round in 0..<4 { #expect(try compacted.put([("k\(round)", "x")]) == .none) }
            world.run(forMs: 20_000)
            #expect(try compacted.records(on: host).contains { $0.key == "k0" } == !isDeleted, "\(policy)")
            let answer = try Client(host, world).call(deleteRequest(before: 2)).only
            #expect((answer.errorCode == .policyViolation) == !isDeleted)
        }
    }

    /// The names of files grow longer in a cleaning, and its outcome has to be written: a full disk refuses that.
    @Test func aCleaningThatFindsNoSpaceIsSaidAndComesAgain() throws {
        let compacted = try Compacted(nodes: 1)
        let (world, host) = (compacted.world, compacted.world.hosts[0])
        for round in 0..<3 { #expect(try compacted.put([("a", "\(round)")]) == .none) }
        host.shardDisk.noSpaceForNamesEndingIn = ".cleaned"
        for round in 3..<10 { #expect(try compacted.put([("a", "\(round)")]) == .none) }
        world.run(forMs: 3_000)
        #expect(host.lines.filter { $0.text.contains("cannot be compacted now") }.count == 1)
        #expect(host.halted == nil)
        host.shardDisk.noSpaceForNamesEndingIn = nil
        world.run(forMs: 5_000) { compacted.segments(on: host) < 4 }
        #expect(compacted.segments(on: host) < 4)
        #expect(try compacted.records(on: host).last?.value == "9")
    }
}
