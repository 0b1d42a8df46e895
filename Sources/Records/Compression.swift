// The codecs of record batches, by Kafka's numbers.

import NIOCore

public enum Compression: Int16, CaseIterable, Sendable {
    case none, gzip, snappy, lz4, zstd

    /// The readable bytes, compressed at the codec's default level.
    package func compress(_ buffer: ByteBuffer) -> ByteBuffer {
        if self == .none { return buffer }
        return buffer.withUnsafeReadableBytes { bytes in
            switch self {
            case .none: buffer
            case .gzip: Gzip.compress(bytes)
            case .snappy: Snappy.compress(bytes)
            case .lz4: Lz4.compress(bytes)
            case .zstd: Zstd.compress(bytes)
            }
        }
    }

    /// The opposite. Never holds more than about twice `maxBytes`, whatever the bytes say,
    /// and never unpacks to more than 1 GiB.
    ///
    /// Errors: `corrupt`, `decompressionTooLarge`.
    package func decompress(_ buffer: ByteBuffer, maxBytes: Int) throws(BatchError) -> ByteBuffer {
        if self == .none {
            guard buffer.readableBytes <= maxBytes else { throw .decompressionTooLarge(limit: maxBytes) }
            return buffer
        }
        return try buffer.withUnsafeReadableBytes { (bytes) throws(BatchError) -> ByteBuffer in
            try decompress(bytes, maxBytes: maxBytes)
        }
    }

    /// No setting raises the bound above this: a ByteBuffer doubles its room and traps beyond 4 GiB.
    private static let unpackedBytesMax = 1 << 30

    /// As above over raw bytes; `none` copies.
    func decompress(_ bytes: UnsafeRawBufferPointer, maxBytes: Int) throws(BatchError) -> ByteBuffer {
        let maxBytes = min(maxBytes, Self.unpackedBytesMax)
        switch self {
        case .none:
            guard bytes.count <= maxBytes else { throw .decompressionTooLarge(limit: maxBytes) }
            return ByteBuffer(bytes: bytes)
        case .gzip: return try Gzip.decompress(bytes, maxBytes: maxBytes)
        case .snappy: return try Snappy.decompress(bytes, maxBytes: maxBytes)
        case .lz4: return try Lz4.decompress(bytes, maxBytes: maxBytes)
        case .zstd: return try Zstd.decompress(bytes, maxBytes: maxBytes)
        }
    }

    /// Kafka's name in `compression.type` and in tools.
    public var name: String {
        switch self {
        case .none: "none"
        case .gzip: "gzip"
        case .snappy: "snappy"
        case .lz4: "lz4"
        case .zstd: "zstd"
        }
    }
}

/// The output of a decompressor that does not know its size: grows by doubling and refuses to pass its limit. It offers
/// one byte more than the limit, because only a decompressor that fills it has shown that it wants more.
struct BoundedOutput {
    private(set) var buffer = ByteBuffer()
    private let maxBytes: Int

    init(maxBytes: Int, compressedBytes: Int) {
        self.maxBytes = max(0, maxBytes)
        buffer.reserveCapacity(min(self.maxBytes, max(1024, compressedBytes * 4)) + 1)
    }

    /// Lets `body` write into at least one free byte; it returns how many it wrote.
    mutating func write(
        _ body: (UnsafeMutableRawBufferPointer) throws(BatchError) -> Int
    ) throws(BatchError) {
        let limit = maxBytes + 1 - buffer.readableBytes
        if buffer.writableBytes == 0 { buffer.reserveCapacity(min(buffer.capacity * 2, maxBytes + 1)) }
        try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) {
            (room) throws(BatchError) -> Int in
            try body(UnsafeMutableRawBufferPointer(rebasing: room[..<min(limit, room.count)]))
        }
        if buffer.readableBytes > maxBytes { throw .decompressionTooLarge(limit: maxBytes) }
    }
}
