// The four decompressors, fed raw.

import NIOCore
import Records

extension Fuzz {
    static let codecEntries: [Entry] =
        [Compression.gzip, .snappy, .lz4, .zstd].map { codec in
            Entry(
                name: codec.name, run: { feed in unpack(feed.rest, codec, feed) },
                seeds: { codecSeeds(codec) + bombs(codec) })
        } + [
            // The head of the Java framing is put before the input, and each chunk is a byte of length and its bytes.
            Entry(
                name: "snappy-java", run: { feed in unpack(javaFramed(feed.rest), .snappy, feed) },
                seeds: { javaSeeds() })
        ]
}

private func unpack(_ packed: ByteBuffer, _ codec: Compression, _ feed: Feed) {
    let unpacked = feed.within(unpacking, of: packed.readableBytes) {
        try? codec.decompress(packed, maxBytes: unpackedBytesMax)
    }
    guard let unpacked else { return }
    check(unpacked.readableBytes <= unpackedBytesMax, "\(codec.name) passed its cap: \(unpacked.readableBytes)")
    // What takes long to pack again is left out.
    guard unpacked.readableBytes > 0, unpacked.readableBytes <= 16 * 1024 else { return }
    let again = try? codec.decompress(codec.compress(unpacked), maxBytes: unpackedBytesMax)
    check(again == unpacked, "\(codec.name) does not unpack what it packed")
    let tight = try? codec.decompress(packed, maxBytes: unpacked.readableBytes - 1)
    check(tight == nil, "\(codec.name) passed a cap one byte below what it unpacks to")
}

private func javaFramed(_ chunks: ByteBuffer) -> ByteBuffer {
    var chunks = chunks
    var framed = ByteBuffer(bytes: [0x82, 0x53, 0x4E, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])
    while let length = chunks.readInteger(as: UInt8.self) {
        var chunk = chunks.readSlice(length: min(Int(length), chunks.readableBytes)) ?? ByteBuffer()
        framed.writeInteger(Int32(chunk.readableBytes))
        framed.writeBuffer(&chunk)
    }
    return framed
}

/// The chunks of what the product writes: one each, behind a head of 16 bytes and a length of 4.
private func javaSeeds() -> [Seed] {
    codecSeeds(.snappy).map { name, bytes in
        let chunk = bytes.dropFirst(20).prefix(255)
        return (name, [UInt8(chunk.count)] + chunk)
    }
}
