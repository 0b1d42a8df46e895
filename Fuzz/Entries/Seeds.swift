// Inputs to begin with.

import Broker
import Model
import NIOCore
import Records
import Wire

typealias Seed = (name: String, bytes: [UInt8])

func bigEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

// MARK: Messages

/// Each request in each version, filled; the lying ones follow.
func requestSeeds() -> [Seed] {
    func filled<M: WireRequest>(_: M.Type, _ version: Int16) -> ByteBuffer {
        var buffer = ByteBuffer()
        wireEncode(WireFiller.message(M.self, version: version, seed: 3), version: version, into: &buffer)
        return buffer
    }
    return everyVersion { type, version in filled(type, version).array } + malformedRequests()
}

/// Each answer in each version, as a frame without its length.
func responseSeeds() -> [Seed] {
    func filled<M: WireRequest>(_: M.Type, _ version: Int16) -> ByteBuffer {
        let response = WireFiller.message(M.Response.self, version: version, seed: 5)
        var frame = encodeResponseFrame(response, to: M.self, version: version, correlationID: 9)
        frame.moveReaderIndex(forwardBy: 4)
        return frame
    }
    return everyVersion { type, version in filled(type, version).array }
}

private func everyVersion(_ body: (any WireRequest.Type, Int16) -> [UInt8]) -> [Seed] {
    allRequests.types.flatMap { type -> [Seed] in
        let versions: ClosedRange<Int16> = type.versions
        check(chosen(Int(choosing(type.api))) == type, "two APIs share the byte of \(type.api)")
        return versions.enumerated().map { place, version in
            (
                "\(type.api)-v\(version)",
                [choosing(type.api), UInt8(place)] + body(type, version)
            )
        }
    }
}

func frameSeeds() -> [Seed] {
    func frame<M: WireRequest>(_: M.Type) -> [UInt8] {
        let version = M.versions.upperBound
        var frame = encodeRequestFrame(
            WireFiller.message(M.self, version: version, seed: 11), version: version, correlationID: 2, clientID: "c")
        frame.moveReaderIndex(forwardBy: 4)
        return frame.array
    }
    return allRequests.types.map { type in ("\(type.api)", frame(type)) }
        + [
            ("strange-api", [0x7F, 0xFF, 0, 0, 0, 0, 0, 1]), ("strange-version", [0, 18, 0x7F, 0xFF, 0, 0, 0, 1]),
            ("client-id-lies", [0, 3, 0, 1, 0, 0, 0, 1, 0x7F, 0xFF, 97]),
            ("client-id-negative", [0, 3, 0, 1, 0, 0, 0, 1, 0xFF, 0xFE]),
        ]
}

private func malformedRequests() -> [Seed] {
    func on(_ api: APIKey, _ place: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [choosing(api), place] + bytes
    }
    let longName = [UInt8](repeating: 97, count: 250)
    return [
        ("array-max", on(.metadata, 1, [0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0])),
        ("array-minus-2", on(.metadata, 1, [0xFF, 0xFF, 0xFF, 0xFE])),
        ("compact-array-max", on(.metadata, 9, [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1, 1, 1])),
        ("varint-too-long", on(.metadata, 9, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1])),
        ("tag-count", on(.metadata, 9, [0, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0])),
        ("tags-twice", on(.fetch, 12, [UInt8](repeating: 0, count: 30) + [2, 0, 1, 0, 0, 1, 0])),
        ("null-in-non-null", on(.metadata, 0, [0, 0, 0, 1, 0xFF, 0xFF])),
        ("name-0", on(.metadata, 1, [0, 0, 0, 1, 0, 0])),
        ("name-250", on(.metadata, 1, [0, 0, 0, 1, 0, 250] + longName)),
        ("name-dots", on(.metadata, 1, [0, 0, 0, 2, 0, 2, 46, 46, 0, 1, 47])),
        ("name-not-utf8", on(.metadata, 1, [0, 0, 0, 1, 0, 2, 0xC3, 0x28])),
        ("many-topics", on(.metadata, 1, [0, 0, 8, 0] + [UInt8](repeating: 0, count: 4_096))),
    ]
}

func metadataRecordSeeds() -> [Seed] {
    func records(_ seed: UInt64) -> [MetadataRecord] {
        func filled<R: WireMetadataRecord>(_: R.Type) -> R {
            WireFiller.message(R.self, version: R.versions.upperBound, seed: seed)
        }
        var topic = filled(TopicRecord.self)
        topic.topicID = UUID128(high: 1, low: seed)
        var partition = filled(PartitionRecord.self)
        (partition.topicID, partition.partitionID) = (topic.topicID, 0)
        var change = filled(PartitionChangeRecord.self)
        (change.topicID, change.partitionID) = (topic.topicID, 0)
        var broker = filled(RegisterBrokerRecord.self)
        (broker.brokerID, broker.brokerEpoch) = (3, 4)
        var removed = filled(UnregisterBrokerRecord.self)
        (removed.brokerID, removed.brokerEpoch) = (3, 4)
        var config = filled(ConfigRecord.self)
        (config.resourceType, config.resourceName) = (2, topic.name)
        var gone = filled(RemoveTopicRecord.self)
        gone.topicID = topic.topicID
        return [
            .registerBroker(broker), .topic(topic), .partition(partition), .partitionChange(change), .config(config),
            .featureLevel(filled(FeatureLevelRecord.self)), .producerIDs(filled(ProducerIDsRecord.self)),
            .brokerRegistrationChange(filled(BrokerRegistrationChangeRecord.self)), .noOp(NoOpRecord()),
            .beginTransaction(filled(BeginTransactionRecord.self)), .removeTopic(gone), .unregisterBroker(removed),
        ]
    }
    func framed(_ record: MetadataRecord) -> [UInt8] {
        let bytes = record.encode().array.prefix(255)
        return [UInt8(bytes.count)] + bytes
    }
    return (1...4).map { seed in ("all\(seed)", Array(records(seed).map(framed).joined())) }
        + records(9).enumerated().map { ("one\($0.offset)", framed($0.element)) }
}

/// Each key with its value in every version, and what consumers say in every version.
func groupRecordSeeds() -> [Seed] {
    func filled<M: WireMessage>(_: M.Type, _ version: Int16) -> [UInt8] {
        var buffer = ByteBuffer(integer: version)
        wireEncode(WireFiller.message(M.self, version: version, seed: 13), version: version, into: &buffer)
        return buffer.array
    }
    func records<K: WireGroupKey, V: WireGroupValue>(_: K.Type, _: V.Type) -> [Seed] {
        let key = bigEndian(K.type) + filled(K.self, 0).dropFirst(2)
        let head = [UInt8(key.count)] + key
        return V.versions.map { ("\(V.self)-v\($0)", [2] + head + filled(V.self, $0)) } + [("\(K.self)", [3] + head)]
    }
    let groups =
        records(OffsetCommitKey.self, OffsetCommitValue.self)
        + records(GroupMetadataKey.self, GroupMetadataValue.self)
        + records(ConsumerGroupMetadataKey.self, ConsumerGroupMetadataValue.self)
        + records(ConsumerGroupMemberMetadataKey.self, ConsumerGroupMemberMetadataValue.self)
    let assignments =
        records(ConsumerGroupTargetAssignmentMetadataKey.self, ConsumerGroupTargetAssignmentMetadataValue.self)
        + records(ConsumerGroupTargetAssignmentMemberKey.self, ConsumerGroupTargetAssignmentMemberValue.self)
        + records(ConsumerGroupCurrentMemberAssignmentKey.self, ConsumerGroupCurrentMemberAssignmentValue.self)
        + records(ConsumerGroupRegularExpressionKey.self, ConsumerGroupRegularExpressionValue.self)
    let said = (Int16(0)...3).flatMap { version -> [Seed] in
        [
            ("subscription-v\(version)", [0] + filled(ConsumerProtocolSubscription.self, version)),
            ("assignment-v\(version)", [1] + filled(ConsumerProtocolAssignment.self, version)),
        ]
    }
    return groups + assignments + said + [
        ("newer", [0, 0, 9] + filled(ConsumerProtocolSubscription.self, 3).dropFirst(2) + [1, 2, 3]),
        ("claims-v3", [0, 0, 3] + filled(ConsumerProtocolSubscription.self, 0).dropFirst(2)),
        ("topics-max", [0, 0, 1, 0x7F, 0xFF, 0xFF, 0xFF]), ("unknown-type", [2, 4, 0, 99, 1, 2, 0, 0, 7]),
    ]
}

// MARK: Batches

func sampleBatch(
    _ codec: Compression, baseOffset: Offset = 0, epoch: LeaderEpoch = 0, producer: ProducerID = -1, count: Int = 3
) -> ByteBuffer {
    var builder = RecordBatchBuilder(
        baseOffset: baseOffset, leaderEpoch: epoch, compression: codec, producerID: producer,
        producerEpoch: producer < 0 ? -1 : 0, baseSequence: producer < 0 ? -1 : 0)
    for number in 0..<count {
        builder.append(
            timestamp: 1_700_000_000_000 + Int64(number), key: ByteBuffer(string: "key\(number)"),
            value: number == 1 ? nil : ByteBuffer(repeating: 97, count: 20),
            headers: number == 2
                ? [.init(name: "h", value: nil), .init(name: "i", value: ByteBuffer(string: "v"))] : [])
    }
    return builder.build()
}

func batchSeeds(flags: [UInt8]) -> [Seed] {
    let runs: [(String, [ByteBuffer])] =
        Compression.allCases.map { ($0.name, [sampleBatch($0)]) } + [
            ("idempotent", [sampleBatch(.none, producer: 5)]),
            ("run", (0..<5).map { sampleBatch(.none, baseOffset: Offset($0) * 3, epoch: LeaderEpoch($0 / 2)) }),
            ("gap", [sampleBatch(.none), sampleBatch(.lz4, baseOffset: 9)]),
            ("many", (0..<40).map { sampleBatch(.none, baseOffset: Offset($0), count: 1) }),
        ]
    return flags.flatMap { flag in
        runs.map { ("\($0.0)-\(flag)", [flag] + Array($0.1.map(\.array).joined())) }
    }
}

/// As many batches as fit: what is done for each batch must not grow with those before it.
func tinyBatches() -> [UInt8] {
    let batches = (0..<230).map { offset in
        var builder = RecordBatchBuilder(baseOffset: Offset(offset))
        builder.append(timestamp: 0, key: nil, value: nil)
        return builder.build().array
    }
    return Array(batches.joined())
}

/// A good batch with one field that lies, to be mended by flag 1 where the CRC would hide it.
func malformedBatches() -> [Seed] {
    let good = sampleBatch(.none).array
    func with(_ place: Int, _ bytes: [UInt8], flag: UInt8 = 1) -> [UInt8] {
        [flag] + good[..<place] + bytes + good[(place + bytes.count)...]
    }
    let codecs = (5...7).map { ("codec\($0)", with(21, [0, UInt8($0)])) }
    let empty = (1...4).map { ("empty\($0)", [1] + good[..<21] + [0, UInt8($0)] + good[23..<61]) }
    return codecs + empty + [
        ("length-0", with(8, bigEndian(Int32(0)), flag: 0)),
        ("length-negative", with(8, bigEndian(Int32(-1)), flag: 0)),
        ("length-max", with(8, bigEndian(Int32.max), flag: 0)), ("crc", with(17, [1, 2, 3, 4], flag: 0)),
        ("magic-0", with(16, [0], flag: 0)), ("magic-1", with(16, [1], flag: 0)), ("magic-3", with(16, [3], flag: 0)),
        ("count-less", with(57, bigEndian(Int32(2)))), ("count-more", with(57, bigEndian(Int32(4)))),
        ("count-max", with(57, bigEndian(Int32.max), flag: 9)), ("delta-lies", with(23, bigEndian(Int32(7)))),
        ("sequence-alone", with(53, bigEndian(Int32(5)))), ("control", with(21, [0, 0x20])),
        ("horizon", with(21, [0, 0x40])), ("log-append", with(21, [0, 8])),
        ("headers-bomb", with(61 + 30, [0xFE, 0xFF, 0xFF, 0xFF, 0x0F])),
        ("varint-10", with(62, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F])),
        ("time-max", with(27, bigEndian(Int64.max))),
    ]
}

// MARK: Codecs

func codecSeeds(_ codec: Compression) -> [Seed] {
    let texts: [(String, ByteBuffer)] = [
        ("letters", ByteBuffer(repeating: 97, count: 300)), ("none", ByteBuffer()),
        ("bytes", ByteBuffer(bytes: (0..<400).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 31) })),
    ]
    return texts.map { ($0.0, codec.compress($0.1).array) }
}

func bombs(_ codec: Compression) -> [Seed] {
    let zeros = codec.compress(ByteBuffer(repeating: 0, count: 2 << 20)).array
    switch codec {
    case .none: return []
    case .gzip: return [("bomb", zeros), ("two", codecSeeds(.gzip)[0].bytes + codecSeeds(.gzip)[2].bytes)]
    case .snappy:
        return [
            ("raw", [5, 16, 104, 101, 108, 108, 111]), ("length-lies", [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0]),
            (
                "chunk-lies",
                [0x82, 0x53, 0x4E, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x7F, 0xFF, 0xFF, 0xFF]
            ),
        ]
    case .lz4:
        return [
            ("bomb", zeros), ("legacy", [0x02, 0x21, 0x4C, 0x18, 0xFF, 0xFF, 0xFF, 0x7F, 0]),
            ("block-lies", [0x04, 0x22, 0x4D, 0x18, 0x70, 0x70, 0x72, 0xFF, 0xFF, 0xFF, 0x7F]),
        ]
    case .zstd:
        return [
            ("bomb", zeros), ("window", [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xB8, 0x01, 0x00, 0x00]),
            (
                "content-lies",
                [0x28, 0xB5, 0x2F, 0xFD, 0xC0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, 0, 0]
            ),
            ("skippable", [0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 1, 2] + codecSeeds(.zstd)[0].bytes),
        ]
    }
}

// MARK: Connections

private func frame<M: WireRequest>(_ message: M, version: Int16? = nil) -> ByteBuffer {
    var frame = encodeRequestFrame(
        message, version: version ?? M.versions.upperBound, correlationID: 1, clientID: "seed")
    frame.moveReaderIndex(forwardBy: 4)
    return frame
}

/// Makes the topic `t` and writes to it.
let openingFrames: [ByteBuffer] = {
    var asked = MetadataRequest.Topic()
    asked.name = "t"
    var metadata = MetadataRequest()
    metadata.topics = [asked]
    metadata.allowAutoTopicCreation = true
    var partition = ProduceRequest.Partition()
    partition.records = sampleBatch(.none, producer: 5)
    var topic = ProduceRequest.Topic()
    topic.name = "t"
    topic.partitions = [partition]
    var produce = ProduceRequest()
    produce.acks = -1
    produce.timeoutMs = 500
    produce.topics = [topic]
    return [frame(metadata, version: 9), frame(produce, version: 9)]
}()

private func bundled(_ frames: [ByteBuffer]) -> [UInt8] {
    Array(frames.map { bigEndian(UInt16($0.readableBytes)) + $0.array }.joined())
}

func connectionSeeds() -> [Seed] {
    let filled = frameSeeds().filter { $0.bytes.count < 4_096 }
    return [("opening", bundled(openingFrames)), ("fetching", bundled(fetchingFrames()))]
        + filled.map { ($0.name, bundled([ByteBuffer(bytes: $0.bytes)])) }
        + [("as-node", bundled([frame(hello())] + filled.prefix(8).map { ByteBuffer(bytes: $0.bytes) }))]
}

/// Introduces the connection as the node's own, which nodes' APIs ask for.
private func hello() -> NodeHelloRequest {
    var hello = NodeHelloRequest()
    hello.nodeID = 1
    return hello
}

private func fetchingFrames() -> [ByteBuffer] {
    var partition = FetchRequest.Partition()
    partition.partitionMaxBytes = 1_000
    var topic = FetchRequest.Topic()
    topic.name = "t"
    topic.partitions = [partition]
    var fetch = FetchRequest()
    fetch.maxWaitMs = 100
    fetch.minBytes = 1
    fetch.topics = [topic]
    var listed = ListOffsetsRequest.Partition()
    listed.timestamp = -1
    var list = ListOffsetsRequest()
    var listTopic = ListOffsetsRequest.Topic()
    listTopic.name = "t"
    listTopic.partitions = [listed]
    list.topics = [listTopic]
    return [frame(fetch, version: 12), frame(list, version: 7), frame(ApiVersionsRequest(), version: 3)]
}
