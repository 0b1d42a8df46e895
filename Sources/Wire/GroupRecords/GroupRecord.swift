// One record of `__consumer_offsets`: the key is an int16 type and fields, the value an int16 version and fields. A
// record without a value is a tombstone: what its key names is gone.

import NIOCore

/// A record of the groups' log, by Kafka's types and numbers, so that Kafka's tools read ours. `nil` as value is a
/// tombstone. Share and Streams groups (9–15 and from 17) and the partitions' racks that Kafka once kept (4) are not
/// known here.
package enum GroupRecord: Equatable, Sendable, CustomStringConvertible {
    case offsetCommit(OffsetCommitKey, OffsetCommitValue?)
    case groupMetadata(GroupMetadataKey, GroupMetadataValue?)
    case consumerGroupMetadata(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue?)
    case consumerGroupMemberMetadata(ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue?)
    case consumerGroupTargetAssignmentMetadata(
        ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue?)
    case consumerGroupTargetAssignmentMember(
        ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue?)
    case consumerGroupCurrentMemberAssignment(
        ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue?)
    case consumerGroupRegularExpression(ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue?)
    /// A type that this build does not know. Whoever loads the log skips it, so that a cluster can go back to an older
    /// build (KIP-915). Key and value stay as they came.
    case unknown(type: Int16, key: ByteBuffer, value: ByteBuffer?)

    /// The record as key and value of a log record; the value is nil for a tombstone.
    package func encode() -> (key: ByteBuffer, value: ByteBuffer?) {
        switch self {
        case .offsetCommit(let key, let value): encoded(key, value)
        case .groupMetadata(let key, let value): encoded(key, value)
        case .consumerGroupMetadata(let key, let value): encoded(key, value)
        case .consumerGroupMemberMetadata(let key, let value): encoded(key, value)
        case .consumerGroupTargetAssignmentMetadata(let key, let value): encoded(key, value)
        case .consumerGroupTargetAssignmentMember(let key, let value): encoded(key, value)
        case .consumerGroupCurrentMemberAssignment(let key, let value): encoded(key, value)
        case .consumerGroupRegularExpression(let key, let value): encoded(key, value)
        case .unknown(_, let key, let value): (key, value)
        }
    }

    /// Reads a whole record.
    /// - Throws: `WireError`; `unsupportedVersion` means a value of a newer build that did not keep to tagged fields.
    ///   Keys are compared as bytes by compaction, so nothing may follow one.
    package static func decode(key: ByteBuffer, value: ByteBuffer?) throws(WireError) -> GroupRecord {
        var body = key
        guard let type = body.readInteger(as: Int16.self) else { throw .truncated }
        return switch type {
        case OffsetCommitKey.legacyType, OffsetCommitKey.type: .offsetCommit(try readKey(body), try readValue(value))
        case GroupMetadataKey.type: .groupMetadata(try readKey(body), try readValue(value))
        case ConsumerGroupMetadataKey.type: .consumerGroupMetadata(try readKey(body), try readValue(value))
        case ConsumerGroupMemberMetadataKey.type: .consumerGroupMemberMetadata(try readKey(body), try readValue(value))
        case ConsumerGroupTargetAssignmentMetadataKey.type:
            .consumerGroupTargetAssignmentMetadata(try readKey(body), try readValue(value))
        case ConsumerGroupTargetAssignmentMemberKey.type:
            .consumerGroupTargetAssignmentMember(try readKey(body), try readValue(value))
        case ConsumerGroupCurrentMemberAssignmentKey.type:
            .consumerGroupCurrentMemberAssignment(try readKey(body), try readValue(value))
        case ConsumerGroupRegularExpressionKey.type:
            .consumerGroupRegularExpression(try readKey(body), try readValue(value))
        default: .unknown(type: type, key: key, value: value)
        }
    }

    /// One line of stable text: the record's name, the key's fields, then the value's fields or "tombstone".
    package var description: String {
        switch self {
        case .offsetCommit(let key, let value): line(key, value)
        case .groupMetadata(let key, let value): line(key, value)
        case .consumerGroupMetadata(let key, let value): line(key, value)
        case .consumerGroupMemberMetadata(let key, let value): line(key, value)
        case .consumerGroupTargetAssignmentMetadata(let key, let value): line(key, value)
        case .consumerGroupTargetAssignmentMember(let key, let value): line(key, value)
        case .consumerGroupCurrentMemberAssignment(let key, let value): line(key, value)
        case .consumerGroupRegularExpression(let key, let value): line(key, value)
        case .unknown(let type, let key, let value):
            "Unknown(\(type)){key=<\(key.readableBytes) bytes>} "
                + (value.map { "<\($0.readableBytes) bytes>" } ?? gone)
        }
    }
}

/// The key of a record: never flexible, version 0 of its fields.
package protocol WireGroupKey: WireMessage {
    /// Kafka's number of the record; it stands before the key's fields.
    static var type: Int16 { get }
}

extension WireGroupKey {
    package static var versions: ClosedRange<Int16> { 0...0 }
    package static var flexibleSince: Int16 { .max }
}

/// The value of a record.
package protocol WireGroupValue: WireMessage {
    /// The version in which Kafka 4.x writes this value; it stands before the value's fields.
    var writtenVersion: Int16 { get }
}

extension WireGroupValue {
    package var writtenVersion: Int16 { Self.versions.upperBound }
}

private let gone = "tombstone"

private func encoded<K: WireGroupKey, V: WireGroupValue>(_ key: K, _ value: V?) -> (key: ByteBuffer, value: ByteBuffer?)
{
    (prefixed(K.type, key, version: 0), value.map { prefixed($0.writtenVersion, $0, version: $0.writtenVersion) })
}

private func prefixed<M: WireMessage>(_ prefix: Int16, _ message: M, version: Int16) -> ByteBuffer {
    var buffer = ByteBufferAllocator().buffer(capacity: 128)
    buffer.writeInteger(prefix)
    wireEncode(message, version: version, into: &buffer)
    return buffer
}

private func readKey<K: WireGroupKey>(_ body: ByteBuffer) throws(WireError) -> K {
    var body = body
    return try wireDecodeWhole(K.self, from: &body, version: 0)
}

private func readValue<V: WireGroupValue>(_ value: ByteBuffer?) throws(WireError) -> V? {
    guard var body = value else { return nil }
    guard let version = body.readInteger(as: Int16.self) else { throw .truncated }
    return try wireDecodeWhole(V.self, from: &body, version: version)
}

private func line<K: WireGroupKey, V: WireGroupValue>(_ key: K, _ value: V?) -> String {
    let fields = value.map { WirePrinter.text($0, version: $0.writtenVersion) } ?? gone
    // The type's name without its last word, "Key": Kafka's name of the record.
    return "\(K.self)".dropLast(3) + WirePrinter.text(key, version: 0) + " " + fields
}
