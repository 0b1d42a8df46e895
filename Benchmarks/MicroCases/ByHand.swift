// The yardstick: one message (Fetch v17 request) decoded and encoded by straight-line code, as a generator would write
// it, with the same checks. Run beside the walk, it says what the walk costs on this machine at this hour.

import Model
import NIOCore
import Wire

enum ByHand {
    static func decode(from buffer: inout ByteBuffer) throws(WireError) -> FetchRequest {
        var request = FetchRequest()
        var used = 0
        var failure: WireError?
        buffer.withUnsafeReadableBytes { bytes in
            var cursor = Cursor(bytes: bytes)
            do throws(WireError) { try read(&request, from: &cursor) } catch { failure = error }
            used = cursor.position
        }
        if let failure { throw failure }
        buffer.moveReaderIndex(forwardBy: used)
        return request
    }

    private static func read(_ request: inout FetchRequest, from cursor: inout Cursor) throws(WireError) {
        request.maxWaitMs = try cursor.integer()
        request.minBytes = try cursor.integer()
        request.maxBytes = try cursor.integer()
        request.isolationLevel = try cursor.integer()
        request.sessionID = try cursor.integer()
        request.sessionEpoch = try cursor.integer()
        let topics = try cursor.count(smallest: 18)
        request.topics.reserveCapacity(topics)
        for _ in 0..<topics { request.topics.append(try topic(from: &cursor)) }
        let forgotten = try cursor.count(smallest: 18)
        for _ in 0..<forgotten {
            var gone = FetchRequest.ForgottenTopic()
            gone.topicID = UUID128(high: try cursor.integer(), low: try cursor.integer())
            for _ in 0..<(try cursor.count(smallest: 4)) { gone.partitions.append(try cursor.integer()) }
            try cursor.skipTags()
            request.forgottenTopics.append(gone)
        }
        request.rackID = try cursor.string()
        try cursor.skipTags()
    }

    private static func topic(from cursor: inout Cursor) throws(WireError) -> FetchRequest.Topic {
        var topic = FetchRequest.Topic()
        topic.topicID = UUID128(high: try cursor.integer(), low: try cursor.integer())
        let partitions = try cursor.count(smallest: 33)
        topic.partitions.reserveCapacity(partitions)
        for _ in 0..<partitions {
            var partition = FetchRequest.Partition()
            partition.partitionIndex = try cursor.integer()
            partition.currentLeaderEpoch = try cursor.integer()
            partition.fetchOffset = try cursor.integer()
            partition.lastFetchedEpoch = try cursor.integer()
            partition.logStartOffset = try cursor.integer()
            partition.partitionMaxBytes = try cursor.integer()
            try cursor.skipTags()
            topic.partitions.append(partition)
        }
        try cursor.skipTags()
        return topic
    }

    static func encode(_ request: FetchRequest, into buffer: inout ByteBuffer) {
        let partitions = request.topics.reduce(0) { $0 + $1.partitions.count }
        let sizeBytes = 40 + 22 * request.topics.count + 33 * partitions + request.rackID.utf8.count
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: sizeBytes) { memory in
            var pen = Pen(memory: memory)
            pen.put(request.maxWaitMs)
            pen.put(request.minBytes)
            pen.put(request.maxBytes)
            pen.put(request.isolationLevel)
            pen.put(request.sessionID)
            pen.put(request.sessionEpoch)
            pen.putCount(request.topics.count)
            for topic in request.topics { put(topic, with: &pen) }
            pen.putCount(0)
            pen.putCount(request.rackID.utf8.count)
            for byte in request.rackID.utf8 { pen.put(byte) }
            pen.put(UInt8(0))
            return pen.position
        }
    }

    private static func put(_ topic: FetchRequest.Topic, with pen: inout Pen) {
        pen.put(topic.topicID.high)
        pen.put(topic.topicID.low)
        pen.putCount(topic.partitions.count)
        for partition in topic.partitions {
            pen.put(partition.partitionIndex)
            pen.put(partition.currentLeaderEpoch)
            pen.put(partition.fetchOffset)
            pen.put(partition.lastFetchedEpoch)
            pen.put(partition.logStartOffset)
            pen.put(partition.partitionMaxBytes)
            pen.put(UInt8(0))
        }
        pen.put(UInt8(0))
    }
}

/// A position in memory that is large enough, which is checked at each step all the same.
private struct Pen {
    let memory: UnsafeMutableRawBufferPointer
    var position = 0

    init(memory: UnsafeMutableRawBufferPointer) { self.memory = memory }

    mutating func put<T: FixedWidthInteger>(_ value: T) {
        precondition(memory.count - position >= MemoryLayout<T>.size, "the memory was measured")
        memory.storeBytes(of: value.bigEndian, toByteOffset: position, as: T.self)
        position += MemoryLayout<T>.size
    }

    mutating func putCount(_ count: Int) {
        var rest = UInt32(count + 1)
        while rest >= 0x80 {
            put(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        put(UInt8(rest))
    }
}

/// A checked position in bytes.
private struct Cursor {
    let bytes: UnsafeRawBufferPointer
    var position = 0

    init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func integer<T: FixedWidthInteger>() throws(WireError) -> T {
        guard bytes.count - position >= MemoryLayout<T>.size else { throw .truncated }
        defer { position += MemoryLayout<T>.size }
        return T(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
    }

    mutating func varint() throws(WireError) -> Int {
        var value = 0
        for shift in stride(from: 0, to: 35, by: 7) {
            let byte: UInt8 = try integer()
            value |= Int(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw .invalidVarint
    }

    mutating func count(smallest: Int) throws(WireError) -> Int {
        let count = try varint() - 1
        guard count >= 0, count <= (bytes.count - position) / smallest else { throw .truncated }
        return count
    }

    mutating func string() throws(WireError) -> String {
        let length = try varint() - 1
        guard length >= 0, length <= bytes.count - position else { throw .truncated }
        let text = UnsafeRawBufferPointer(rebasing: bytes[position..<position + length])
        position += length
        guard let string = String(validating: text, as: UTF8.self) else { throw .invalidUTF8 }
        return string
    }

    mutating func skipTags() throws(WireError) {
        for _ in 0..<(try varint()) {
            _ = try varint()
            let size = try varint()
            guard size <= bytes.count - position else { throw .truncated }
            position += size
        }
    }
}
