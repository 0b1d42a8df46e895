// Subscriptions come from any client, so they are read with patience, and what cannot be read is an error.

import Model
import NIOCore
import Testing
import Wire

@Suite struct ConsumerProtocolTests {
    private static func sample() -> ConsumerProtocolSubscription {
        var owned = ConsumerProtocolSubscription.TopicPartitions()
        owned.topic = "t"
        owned.partitions = [0, 7]
        var subscription = ConsumerProtocolSubscription()
        subscription.topics = ["t", "語"]
        subscription.userData = ByteBuffer(bytes: [1, 2])
        subscription.ownedPartitions = [owned]
        subscription.generationID = 9
        subscription.rackID = "r"
        return subscription
    }

    @Test func aNewerVersionIsReadAsTheNewestKnown() throws {
        for version in [4, 99, .max] as [Int16] {
            var blob = Self.sample().encode()
            blob.setInteger(version, at: 0)
            #expect(try ConsumerProtocolSubscription.decode(blob) == Self.sample())
            blob.writeBytes([0, 0, 0, 1, 5])  // Fields that a newer version may have behind ours.
            #expect(try ConsumerProtocolSubscription.decode(blob) == Self.sample())
        }
        var assigned = ConsumerProtocolAssignment.TopicPartitions()
        assigned.topic = "t"
        assigned.partitions = [3]
        var assignment = ConsumerProtocolAssignment()
        assignment.assignedPartitions = [assigned]
        var blob = assignment.encode()
        blob.setInteger(Int16(4), at: 0)
        blob.writeBytes([9])
        #expect(try ConsumerProtocolAssignment.decode(blob) == assignment)
    }

    @Test func fieldsThatAVersionDoesNotHaveKeepTheirDefaults() throws {
        let read = try (0...3).map { try ConsumerProtocolSubscription.decode(Self.sample().encode(version: $0)) }
        #expect(read.map { $0.topics } == Array(repeating: ["t", "語"], count: 4))
        #expect(read.map { $0.ownedPartitions.count } == [0, 1, 1, 1])
        #expect(read.map { $0.generationID } == [-1, -1, 9, 9])
        #expect(read.map { $0.rackID } == [nil, nil, nil, "r"])
    }

    /// Clients raised the number and added no field.
    @Test func aVersionThatIsClaimedButNotWrittenIsStillRead() throws {
        for written in Int16(0)...3 {
            for claimed in written...5 {
                var blob = Self.sample().encode(version: written)
                blob.setInteger(claimed, at: 0)
                #expect(try ConsumerProtocolSubscription.decode(blob).topics == ["t", "語"], "\(written), \(claimed)")
            }
        }
    }

    @Test func garbageIsAnError() {
        for (bytes, error) in [
            ([], .truncated), ([0], .truncated), ([0, 0], .truncated),
            ([0xFF, 0xFF, 0, 0, 0, 0], .unsupportedVersion(-1)),
            ([0x80, 0, 0, 0, 0, 0], .unsupportedVersion(.min)), ([0, 1, 0x7F, 0xFF, 0xFF, 0xFF], .truncated),
            ([0, 1, 0xFF, 0xFF, 0xFF, 0xFF], .unexpectedNull), ([0, 3, 0xFF, 0xFF, 0xFF, 0xFE], .invalidLength),
            ([0, 0, 0, 0, 0, 1, 0, 1, 0xC0, 0, 0, 0, 0], .invalidUTF8),
        ] as [([UInt8], WireError)] {
            #expect(throws: error) { try ConsumerProtocolSubscription.decode(ByteBuffer(bytes: bytes)) }
        }
        #expect(throws: WireError.truncated) { try ConsumerProtocolAssignment.decode(ByteBuffer()) }
        #expect(throws: WireError.unsupportedVersion(-5)) {
            try ConsumerProtocolAssignment.decode(ByteBuffer(bytes: [0xFF, 0xFB, 0, 0, 0, 0]))
        }
    }

    /// Cut anywhere, it is an error or what an older version says; the topics are never half there.
    @Test func aCutSubscriptionNeverLosesATopic() {
        let whole = Self.sample().encode()
        for length in 0..<whole.readableBytes {
            let part = whole.getSlice(at: 0, length: length) ?? ByteBuffer()
            guard let read = try? ConsumerProtocolSubscription.decode(part) else { continue }
            #expect(read.topics == ["t", "語"], "cut to \(length)")
        }
    }

    @Test func randomBytesDoNotTrap() {
        var random = SeededRandom(seed: 31)
        for _ in 0..<4_000 {
            let size = Int(random.below(60))
            let small = random.oneIn(2)
            let bytes = (0..<size).map { _ in small ? UInt8(random.below(4)) : UInt8(random.below(256)) }
            _ = try? ConsumerProtocolSubscription.decode(ByteBuffer(bytes: bytes))
            _ = try? ConsumerProtocolAssignment.decode(ByteBuffer(bytes: bytes))
        }
    }
}
