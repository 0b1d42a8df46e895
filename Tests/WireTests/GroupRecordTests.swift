// Records of `__consumer_offsets`: the bytes are Kafka's, every version that Kafka wrote is read, and types that are
// not known are left as they are.

import Model
import NIOCore
import Testing
import Wire

@Suite struct GroupRecordTests {
    @Test func everyRecordIsReadBackAsWritten() throws {
        for seed in UInt64(0)..<40 {
            for record in Self.records(seed: seed) {
                let (key, value) = record.encode()
                #expect(try GroupRecord.decode(key: key, value: value) == record)
            }
        }
    }

    @Test func theCasesCoverAllRecordTypes() {
        #expect(groupKeyTypes.map { $0.type } == [1, 2, 3, 5, 6, 7, 8, 16])
        let types = Self.records(seed: 0).map { $0.encode().key.getInteger(at: 0, as: Int16.self) }
        #expect(types == groupKeyTypes.map { $0.type } + groupKeyTypes.map { $0.type })
    }

    @Test(arguments: foreignRecords) func recordsHaveKafkasBytes(_ given: ForeignRecord) throws {
        let (key, value) = (hexBytes(given.key), given.value.map { hexBytes($0) })
        let record = try GroupRecord.decode(key: key, value: value)
        #expect(record.description == given.text)
        let encoded = record.encode()
        #expect(encoded.key == key)
        #expect(encoded.value == value)
    }

    @Test func everyVersionOfAnOffsetIsRead() throws {
        let id = UUID128(high: 0x0102_0304_0506_0708, low: 0x090A_0B0C_0D0E_0F10)
        for (hex, epoch, expiry, topicID) in [
            ("0000000000000000002a00046e6f74650000018bcfe56800", -1, -1, .init()),
            ("0001000000000000002a00046e6f74650000018bcfe568000000018bd50bc400", -1, 1_700_086_400_000, .init()),
            ("0002000000000000002a00046e6f74650000018bcfe56800", -1, -1, .init()),
            ("0003000000000000002a0000000700046e6f74650000018bcfe56800", 7, -1, .init()),
            ("0004000000000000002a00000007056e6f74650000018bcfe568000100100102030405060708090a0b0c0d0e0f10", 7, -1, id),
        ] as [(String, Int32, Int64, UUID128)] {
            var expected = OffsetCommitValue()
            (expected.offset, expected.metadata, expected.commitTimestamp) = (42, "note", 1_700_000_000_000)
            (expected.leaderEpoch, expected.expireTimestamp, expected.topicID) = (epoch, expiry, topicID)
            for type in ["0000", "0001"] {
                let record = try GroupRecord.decode(key: hexBytes(type + "00016700017400000002"), value: hexBytes(hex))
                #expect(record == .offsetCommit(Self.offsetKey, expected))
            }
        }
    }

    @Test func anOffsetOfTheOldestTypeIsWrittenAsTheNewer() throws {
        let record = try GroupRecord.decode(key: hexBytes("000000016700017400000002"), value: nil)
        #expect(record == .offsetCommit(Self.offsetKey, nil))
        #expect(record.encode().key == hexBytes("000100016700017400000002"))
    }

    @Test func theVersionWrittenIsKafkas() {
        var offset = OffsetCommitValue()
        #expect(offset.writtenVersion == 4)
        offset.expireTimestamp = 5
        #expect(offset.writtenVersion == 1)
        #expect(GroupMetadataValue().writtenVersion == 3)
        #expect(ConsumerGroupMemberMetadataValue().writtenVersion == 0)
    }

    @Test func everyVersionOfAGroupIsRead() throws {
        let head = "0008636f6e73756d657200000003000572616e676500036d2d31"
        let host = "000163000a2f3132372e302e302e31"
        let tail = "0000afc800000003010203000000020908"
        let values = try [
            "0000\(head)00000001" + "00036d2d31\(host)\(tail)",
            "0001\(head)00000001" + "00036d2d31\(host)000493e0\(tail)",
            "0002\(head)0000018bcfe5680000000001" + "00036d2d31\(host)000493e0\(tail)",
            "0003\(head)0000018bcfe5680000000001" + "00036d2d3100087374617469632d31\(host)000493e0\(tail)",
            "000409636f6e73756d6572000000030672616e6765046d2d310000018bcfe5680002"
                + "046d2d31097374617469632d3102630b2f3132372e302e302e31000493e00000afc8040102030309080000",
        ].map { hex -> GroupMetadataValue in
            let record = try GroupRecord.decode(key: hexBytes("0002000167"), value: hexBytes(hex))
            guard case .groupMetadata(let key, let value?) = record else { throw WireError.truncated }
            #expect(key.groupID == "g")
            return value
        }
        #expect(values[3] == values[4])
        #expect(values.map { $0.currentStateTimestamp } == [-1, -1] + Array(repeating: 1_700_000_000_000, count: 3))
        let members = try values.map { try #require($0.members.first) }
        #expect(members.map { $0.groupInstanceID } == [nil, nil, nil, "static-1", "static-1"])
        #expect(members.map { $0.rebalanceTimeoutMs } == [-1, 300_000, 300_000, 300_000, 300_000])
        #expect(members.allSatisfy { $0.assignment == ByteBuffer(bytes: [9, 8]) && $0.sessionTimeoutMs == 45_000 })
        #expect(values.allSatisfy { ($0.protocolName, $0.leader, $0.generation) == ("range", "m-1", 3) })
    }

    /// KIP-915: a build that meets a newer one's records goes on without them.
    @Test(arguments: [-1, 4, 9, 15, 17, 23, 99, .max] as [Int16]) func unknownTypesStayAsTheyAre(type: Int16) throws {
        for value in [nil, ByteBuffer(), ByteBuffer(bytes: [0, 9, 1])] {
            var key = ByteBuffer(integer: type)
            key.writeBytes([1, 2, 3])
            let record = try GroupRecord.decode(key: key, value: value)
            #expect(record == .unknown(type: type, key: key, value: value))
            #expect(record.encode().key == key)
            #expect(record.encode().value == value)
        }
    }

    /// KIP-915: a newer build may only add tagged fields to a value.
    @Test func unknownTaggedFieldsAreSkipped() throws {
        let value =
            "0004000000000000002a00000007056e6f74650000018bcfe56800"
            + "020010" + "0102030405060708" + "0900000000000000" + "0603" + "616263"
        let record = try GroupRecord.decode(key: hexBytes("000100016700017400000002"), value: hexBytes(value))
        guard case .offsetCommit(_, let offset?) = record else { throw WireError.truncated }
        #expect(offset.offset == 42)
        #expect(offset.topicID == UUID128(high: 0x0102_0304_0506_0708, low: 0x0900_0000_0000_0000))
    }

    @Test func strangeRecordsAreErrors() {
        let key = "000100016700017400000002"
        for (key, value, error) in [
            ("", nil, .truncated), ("00", nil, .truncated), ("0001", nil, .truncated),
            ("00010001670001740000", nil, .truncated),
            (key + "00", nil, .bytesLeftOver), (key, "", .truncated), (key, "00", .truncated),
            (key, "0003", .truncated),
            (key, "0005000000000000002a0000", .unsupportedVersion(5)), (key, "ffff", .unsupportedVersion(-1)),
            (key, "0003000000000000002a0000000700046e6f74650000018bcfe5680000", .bytesLeftOver),
            ("00020002c328", nil, .invalidUTF8), ("0002ffff", nil, .unexpectedNull),
        ] as [(String, String?, WireError)] {
            #expect(throws: error, "\(key) \(value ?? "nil")") {
                try GroupRecord.decode(key: hexBytes(key), value: value.map { hexBytes($0) })
            }
        }
    }

    @Test func randomBytesDoNotTrap() {
        var random = SeededRandom(seed: 41)
        func bytes(_ head: Int64) -> ByteBuffer {
            var buffer = ByteBuffer(integer: Int16(random.below(head)))
            for _ in 0..<random.below(50) { buffer.writeInteger(UInt8(random.below(random.oneIn(2) ? 4 : 256))) }
            return buffer
        }
        for _ in 0..<8_000 {
            guard let record = try? GroupRecord.decode(key: bytes(18), value: bytes(6)) else { continue }
            let (key, value) = record.encode()
            #expect((try? GroupRecord.decode(key: key, value: value)) == record)
        }
    }

    private static var offsetKey: OffsetCommitKey {
        var key = OffsetCommitKey()
        (key.groupID, key.topic, key.partition) = ("g", "t", 2)
        return key
    }

    /// One of each, then a tombstone of each.
    private static func records(seed: UInt64) -> [GroupRecord] {
        func key<K: WireGroupKey>() -> K { WireFiller.message(K.self, version: 0, seed: seed) }
        func value<V: WireGroupValue>() -> V {
            WireFiller.message(V.self, version: V().writtenVersion, seed: seed &+ 1)
        }
        return [
            .offsetCommit(key(), value()), .groupMetadata(key(), value()), .consumerGroupMetadata(key(), value()),
            .consumerGroupMemberMetadata(key(), value()), .consumerGroupTargetAssignmentMetadata(key(), value()),
            .consumerGroupTargetAssignmentMember(key(), value()),
            .consumerGroupCurrentMemberAssignment(key(), value()), .consumerGroupRegularExpression(key(), value()),
            .offsetCommit(key(), nil), .groupMetadata(key(), nil), .consumerGroupMetadata(key(), nil),
            .consumerGroupMemberMetadata(key(), nil), .consumerGroupTargetAssignmentMetadata(key(), nil),
            .consumerGroupTargetAssignmentMember(key(), nil), .consumerGroupCurrentMemberAssignment(key(), nil),
            .consumerGroupRegularExpression(key(), nil),
        ]
    }
}
