// Metadata and control records: framing, types that are not known, and the fields that Kafka's tools read.

import Model
import NIOCore
import Testing
import Wire

@Suite struct MetadataRecordTests {
    @Test func everyRecordIsReadBackAsWritten() throws {
        for seed in UInt64(0)..<30 {
            for record in Self.records(seed: seed) {
                #expect(try MetadataRecord.decode(record.encode()) == record)
            }
        }
    }

    @Test func theCasesCoverAllRecordTypes() {
        #expect(Self.records(seed: 0).count == metadataRecordTypes.count)
        #expect(metadataRecordTypes.map { $0.type }.sorted() == [0, 1, 2, 3, 4, 5, 9, 12, 15, 17, 20, 23, 24, 25])
    }

    @Test func topicRecordHasKafkasBytes() throws {
        var topic = TopicRecord()
        topic.name = "foo"
        topic.topicID = UUID128(high: 1, low: 2)
        let bytes: [UInt8] = [1, 2, 0, 4] + Array("foo".utf8) + [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2] + [0]
        #expect(Array(MetadataRecord.topic(topic).encode().readableBytesView) == bytes)
    }

    @Test func theDirectoryRidesOnTag10000() throws {
        var broker = RegisterBrokerRecord()
        broker.directoryID = UUID128(high: 3, low: 4)
        let bytes = Array(MetadataRecord.registerBroker(broker).encode().readableBytesView)
        let tail: [UInt8] = [1, 0x90, 0x4E, 16, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4]
        #expect(Array(bytes.suffix(tail.count)) == tail)
    }

    @Test func strangeRecordsAreErrors() {
        #expect(throws: WireError.unknownRecordType(77)) {
            try MetadataRecord.decode(ByteBuffer(bytes: [1, 77, 0, 0]))
        }
        #expect(throws: WireError.unsupportedVersion(9)) { try MetadataRecord.decode(ByteBuffer(bytes: [1, 2, 9, 0])) }
        #expect(throws: WireError.unsupportedFrameVersion(2)) {
            try MetadataRecord.decode(ByteBuffer(bytes: [2, 2, 0]))
        }
        #expect(throws: WireError.bytesLeftOver) { try MetadataRecord.decode(ByteBuffer(bytes: [1, 20, 0, 0, 0])) }
        #expect(throws: WireError.truncated) { try MetadataRecord.decode(ByteBuffer(bytes: [1, 0x80])) }
        #expect(throws: WireError.truncated) { try MetadataRecord.decode(ByteBuffer()) }
    }

    @Test func olderVersionsOfARecordAreRead() throws {
        var partition = PartitionRecord()
        partition.replicas = [1, 2, 3]
        partition.leader = 2
        var value = ByteBuffer(bytes: [1, 3, 0])
        wireEncode(partition, version: 0, into: &value)
        #expect(try MetadataRecord.decode(value) == .partition(partition))
    }

    @Test func controlRecordsAreReadAtTheVersionInFrontOfThem() throws {
        for version in Int16(0)...1 {
            var message = WireFiller.message(LeaderChangeMessage.self, version: version, seed: 5)
            message.version = version
            #expect(try decodeControlRecord(LeaderChangeMessage.self, from: encodeControlRecord(message)) == message)
        }
        let strange = ByteBuffer(bytes: [0, 9, 0])
        #expect(throws: WireError.unsupportedVersion(9)) { try decodeControlRecord(VotersRecord.self, from: strange) }
        #expect(throws: WireError.truncated) { try decodeControlRecord(VotersRecord.self, from: ByteBuffer()) }
    }

    @Test func controlKeysAreTwoShorts() throws {
        let key = ControlRecordKey(.leaderChange).encode()
        #expect(Array(key.readableBytesView) == [0, 0, 0, 2])
        #expect(try ControlRecordKey.decode(key).type == .leaderChange)
    }

    @Test func descriptionsNameTheFields() {
        var level = FeatureLevelRecord()
        level.name = "kraft.version"
        level.featureLevel = 1
        let expected = #"FeatureLevelRecord{name="kraft.version", featureLevel=1}"#
        #expect(MetadataRecord.featureLevel(level).description == expected)
    }

    private static func records(seed: UInt64) -> [MetadataRecord] {
        func fill<R: WireMetadataRecord>(_: R.Type) -> R {
            WireFiller.message(R.self, version: R.versions.upperBound, seed: seed)
        }
        return [
            .registerBroker(fill(RegisterBrokerRecord.self)), .unregisterBroker(fill(UnregisterBrokerRecord.self)),
            .topic(fill(TopicRecord.self)), .partition(fill(PartitionRecord.self)), .config(fill(ConfigRecord.self)),
            .partitionChange(fill(PartitionChangeRecord.self)), .removeTopic(fill(RemoveTopicRecord.self)),
            .featureLevel(fill(FeatureLevelRecord.self)), .producerIDs(fill(ProducerIDsRecord.self)),
            .brokerRegistrationChange(fill(BrokerRegistrationChangeRecord.self)), .noOp(fill(NoOpRecord.self)),
            .beginTransaction(fill(BeginTransactionRecord.self)), .endTransaction(fill(EndTransactionRecord.self)),
            .abortTransaction(fill(AbortTransactionRecord.self)),
        ]
    }
}
