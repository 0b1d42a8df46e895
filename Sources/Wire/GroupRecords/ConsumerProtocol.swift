// What members of a classic group of protocol type "consumer" say to each other through the coordinator: what they
// subscribe to (JoinGroup's metadata) and what they are assigned (SyncGroup's assignment). Versions 0–3, never
// flexible. An int16 version stands in front. Other protocol types have blobs of their own, which nobody here reads.

import NIOCore

/// The protocol type and the bounds of both blobs.
package enum ConsumerProtocol {
    package static let type = "consumer"
    fileprivate static let versions: ClosedRange<Int16> = 0...3
}

/// A member's subscription. v1 brings what it holds (KIP-429), v2 since which generation (KIP-792), v3 its rack
/// (KIP-881).
package struct ConsumerProtocolSubscription: WireMessage {
    package static let versions: ClosedRange<Int16> = ConsumerProtocol.versions
    package static let flexibleSince: Int16 = .max

    package var topics: [String] = []
    package var userData: ByteBuffer?
    package var ownedPartitions: [TopicPartitions] = []
    package var generationID: Int32 = -1
    package var rackID: String?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topics, "topics")
        try w.field(&userData, "userData")
        try w.field(&ownedPartitions, "ownedPartitions", since: 1)
        try w.field(&generationID, "generationID", since: 2)
        try w.field(&rackID, "rackID", since: 3)
        try w.end()
    }

    package struct TopicPartitions: WireStruct {
        package var topic = ""
        package var partitions: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topic, "topic")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    /// Reads a subscription that some client wrote, with patience: a version above 3 is read as 3, whatever follows,
    /// and one that ends exactly where an older version ends is read as that, because there are clients that raised
    /// the number and added no field (Sarama reads them so too).
    /// - Throws: `WireError`; then nobody knows what the member subscribes to.
    package static func decode(_ blob: ByteBuffer) throws(WireError) -> ConsumerProtocolSubscription {
        let (version, body) = try readVersion(of: blob)
        var rest = body
        do throws(WireError) { return try wireDecode(Self.self, from: &rest, version: version) } catch {
            for older in (0..<version).reversed() {
                rest = body
                if let read = try? wireDecodeWhole(Self.self, from: &rest, version: older) { return read }
            }
            throw error
        }
    }

    /// Version 3 is what current clients write.
    package func encode(version: Int16 = 3) -> ByteBuffer { blob(self, version: version) }
}

/// What a member is assigned; all versions have the same fields.
package struct ConsumerProtocolAssignment: WireMessage {
    package static let versions: ClosedRange<Int16> = ConsumerProtocol.versions
    package static let flexibleSince: Int16 = .max

    package var assignedPartitions: [TopicPartitions] = []
    package var userData: ByteBuffer?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&assignedPartitions, "assignedPartitions")
        try w.field(&userData, "userData")
        try w.end()
    }

    package struct TopicPartitions: WireStruct {
        package var topic = ""
        package var partitions: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topic, "topic")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    /// A version above 3 is read as 3, whatever follows.
    package static func decode(_ blob: ByteBuffer) throws(WireError) -> ConsumerProtocolAssignment {
        var (version, body) = try readVersion(of: blob)
        return try wireDecode(Self.self, from: &body, version: version)
    }

    package func encode(version: Int16 = 3) -> ByteBuffer { blob(self, version: version) }
}

private func readVersion(of blob: ByteBuffer) throws(WireError) -> (version: Int16, body: ByteBuffer) {
    var body = blob
    guard let version = body.readInteger(as: Int16.self) else { throw .truncated }
    guard version >= 0 else { throw .unsupportedVersion(version) }
    return (min(version, ConsumerProtocol.versions.upperBound), body)
}

private func blob<M: WireMessage>(_ message: M, version: Int16) -> ByteBuffer {
    var buffer = ByteBufferAllocator().buffer(capacity: 128)
    buffer.writeInteger(version)
    wireEncode(message, version: version, into: &buffer)
    return buffer
}
