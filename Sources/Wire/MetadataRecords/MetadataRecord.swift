// One record of the metadata log: a frame version, a type and a version as varints, then the body (always flexible).

import NIOCore

/// A record of the metadata log. The types are Kafka's, by Kafka's numbers, written at their highest version.
package enum MetadataRecord: Equatable, Sendable, CustomStringConvertible {
    case registerBroker(RegisterBrokerRecord)
    case unregisterBroker(UnregisterBrokerRecord)
    case topic(TopicRecord)
    case partition(PartitionRecord)
    case config(ConfigRecord)
    case partitionChange(PartitionChangeRecord)
    case removeTopic(RemoveTopicRecord)
    case featureLevel(FeatureLevelRecord)
    case producerIDs(ProducerIDsRecord)
    case brokerRegistrationChange(BrokerRegistrationChangeRecord)
    case noOp(NoOpRecord)
    case beginTransaction(BeginTransactionRecord)
    case endTransaction(EndTransactionRecord)
    case abortTransaction(AbortTransactionRecord)

    /// The record as the value of a log record.
    package func encode() -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: 128)
        encode(into: &buffer)
        return buffer
    }

    package func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .registerBroker(let record): record.encodeFramed(into: &buffer)
        case .unregisterBroker(let record): record.encodeFramed(into: &buffer)
        case .topic(let record): record.encodeFramed(into: &buffer)
        case .partition(let record): record.encodeFramed(into: &buffer)
        case .config(let record): record.encodeFramed(into: &buffer)
        case .partitionChange(let record): record.encodeFramed(into: &buffer)
        case .removeTopic(let record): record.encodeFramed(into: &buffer)
        case .featureLevel(let record): record.encodeFramed(into: &buffer)
        case .producerIDs(let record): record.encodeFramed(into: &buffer)
        case .brokerRegistrationChange(let record): record.encodeFramed(into: &buffer)
        case .noOp(let record): record.encodeFramed(into: &buffer)
        case .beginTransaction(let record): record.encodeFramed(into: &buffer)
        case .endTransaction(let record): record.encodeFramed(into: &buffer)
        case .abortTransaction(let record): record.encodeFramed(into: &buffer)
        }
    }

    /// Reads a whole record value.
    /// - Throws: `WireError`; `unknownRecordType` and `unsupportedVersion` mean a log written by a newer build, which
    ///   must not be skipped, because state would diverge.
    package static func decode(_ value: ByteBuffer) throws(WireError) -> MetadataRecord {
        var body = value
        let frameVersion = try readHeadVarint(&body)
        guard frameVersion == 1 else { throw .unsupportedFrameVersion(frameVersion) }
        let type = try readHeadVarint(&body)
        guard let version = Int16(exactly: try readHeadVarint(&body)) else { throw .invalidVarint }
        return switch type {
        case RegisterBrokerRecord.type: .registerBroker(try record(RegisterBrokerRecord.self, &body, version))
        case UnregisterBrokerRecord.type: .unregisterBroker(try record(UnregisterBrokerRecord.self, &body, version))
        case TopicRecord.type: .topic(try record(TopicRecord.self, &body, version))
        case PartitionRecord.type: .partition(try record(PartitionRecord.self, &body, version))
        case ConfigRecord.type: .config(try record(ConfigRecord.self, &body, version))
        case PartitionChangeRecord.type: .partitionChange(try record(PartitionChangeRecord.self, &body, version))
        case RemoveTopicRecord.type: .removeTopic(try record(RemoveTopicRecord.self, &body, version))
        case FeatureLevelRecord.type: .featureLevel(try record(FeatureLevelRecord.self, &body, version))
        case ProducerIDsRecord.type: .producerIDs(try record(ProducerIDsRecord.self, &body, version))
        case BrokerRegistrationChangeRecord.type:
            .brokerRegistrationChange(try record(BrokerRegistrationChangeRecord.self, &body, version))
        case NoOpRecord.type: .noOp(try record(NoOpRecord.self, &body, version))
        case BeginTransactionRecord.type: .beginTransaction(try record(BeginTransactionRecord.self, &body, version))
        case EndTransactionRecord.type: .endTransaction(try record(EndTransactionRecord.self, &body, version))
        case AbortTransactionRecord.type: .abortTransaction(try record(AbortTransactionRecord.self, &body, version))
        default: throw .unknownRecordType(type)
        }
    }

    /// One line of stable text: the record's name and its fields.
    package var description: String {
        switch self {
        case .registerBroker(let record): record.line
        case .unregisterBroker(let record): record.line
        case .topic(let record): record.line
        case .partition(let record): record.line
        case .config(let record): record.line
        case .partitionChange(let record): record.line
        case .removeTopic(let record): record.line
        case .featureLevel(let record): record.line
        case .producerIDs(let record): record.line
        case .brokerRegistrationChange(let record): record.line
        case .noOp(let record): record.line
        case .beginTransaction(let record): record.line
        case .endTransaction(let record): record.line
        case .abortTransaction(let record): record.line
        }
    }

    private static func record<R: WireMetadataRecord>(
        _: R.Type, _ body: inout ByteBuffer, _ version: Int16
    ) throws(WireError) -> R {
        try wireDecodeWhole(R.self, from: &body, version: version)
    }
}

/// The body of a metadata record.
package protocol WireMetadataRecord: WireMessage {
    /// Kafka's number of the record.
    static var type: UInt32 { get }
}

extension WireMetadataRecord {
    fileprivate func encodeFramed(into buffer: inout ByteBuffer) {
        // Frame version 1; every known type and version is below 128, so that each varint is one byte.
        buffer.writeInteger(UInt8(1))
        buffer.writeInteger(UInt8(Self.type))
        buffer.writeInteger(UInt8(Self.versions.upperBound))
        wireEncode(self, version: Self.versions.upperBound, into: &buffer)
    }

    fileprivate var line: String { "\(Self.self)" + WirePrinter.text(self, version: Self.versions.upperBound) }
}

private func readHeadVarint(_ buffer: inout ByteBuffer) throws(WireError) -> UInt32 {
    var value: UInt32 = 0
    for shift in stride(from: UInt32(0), through: 28, by: 7) {
        guard let byte = buffer.readInteger(as: UInt8.self) else { throw .truncated }
        if shift == 28 && byte > 0x0F { throw .invalidVarint }
        value |= UInt32(byte & 0x7F) << shift
        if byte < 0x80 { return value }
    }
    throw .invalidVarint
}
