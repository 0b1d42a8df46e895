// Cuts a stream of bytes into frames: a length of four bytes, then as many bytes.

import Broker
import NIOCore

/// A frame that lies in one read is handed out as a slice of it, without a copy. One that does not is gathered once
/// into a buffer of its own, which grows with what has arrived and never on the word of the length alone.
package struct FrameSplitter {
    private let frameBytesMax: Int
    /// What was read and not yet handed out. More than one only while nobody asks for frames.
    private var unread: CircularBuffer<ByteBuffer> = []
    /// A frame's bytes so far, when they came in more than one read. Holds the length prefix while `wanted` is nil.
    private var gathered = ByteBuffer()
    /// The length of the frame that is gathered; nil between frames and within a length prefix.
    private var wanted: Int?

    package init(frameBytesMax: Int) { self.frameBytesMax = frameBytesMax }

    /// Bytes of a frame that is not whole yet.
    package var gatheredBytes: Int { gathered.readableBytes }

    /// Room reserved for it.
    package var reservedBytes: Int { gathered.capacity }

    /// Whether the peer owes the rest of a frame, as far as what was read has been looked at.
    package var isMidFrame: Bool { wanted != nil || gathered.readableBytes > 0 }

    /// What the peer still owes of the frame that is gathered, as far as that is known; else 0.
    package var missingBytes: Int { wanted.map { $0 - gathered.readableBytes } ?? 0 }

    package mutating func receive(_ bytes: ByteBuffer) {
        if bytes.readableBytes > 0 { unread.append(bytes) }
    }

    /// The next whole frame without its prefix, or nil when more bytes are needed.
    package mutating func next() throws(BadFrameLength) -> ByteBuffer? {
        while var bytes = unread.popFirst() {
            let frame = try take(from: &bytes)
            if bytes.readableBytes > 0 { unread.prepend(bytes) }
            if let frame { return frame }
        }
        return nil
    }

    private mutating func take(from bytes: inout ByteBuffer) throws(BadFrameLength) -> ByteBuffer? {
        if !isMidFrame {
            if let length = bytes.getInteger(at: bytes.readerIndex, as: Int32.self) {
                try check(length)
                if bytes.readableBytes - 4 >= Int(length) {
                    bytes.moveReaderIndex(forwardBy: 4)
                    return bytes.readSlice(length: Int(length))
                }
                bytes.moveReaderIndex(forwardBy: 4)
                wanted = Int(length)
            }
            gathered = ByteBuffer()
        }
        guard let wanted else {
            gather(min(4 - gathered.readableBytes, bytes.readableBytes), from: &bytes)
            if gathered.readableBytes == 4, let length = gathered.readInteger(as: Int32.self) {
                try check(length)
                gathered = ByteBuffer()
                self.wanted = Int(length)
            }
            return nil
        }
        gather(min(wanted - gathered.readableBytes, bytes.readableBytes), from: &bytes)
        guard gathered.readableBytes == wanted else { return nil }
        self.wanted = nil
        defer { gathered = ByteBuffer() }
        return gathered
    }

    /// ByteBuffer doubles its room as it grows, so that at most as much again as has arrived is reserved.
    private mutating func gather(_ count: Int, from bytes: inout ByteBuffer) {
        guard var part = bytes.readSlice(length: count) else { return }
        gathered.writeBuffer(&part)
    }

    private func check(_ length: Int32) throws(BadFrameLength) {
        if length <= 0 || Int(length) > frameBytesMax { throw BadFrameLength(length: length) }
    }
}

/// A length prefix that is negative, zero or above the limit. Nothing behind it can be read.
package struct BadFrameLength: Error, Equatable {
    package let length: Int32
}
