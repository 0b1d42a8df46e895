// The ways into the codec. The generic functions here are thin on purpose: they call witnesses that are specialised
// in this module, which is what keeps a call from another module fast.

import NIOCore

/// Decodes a message and moves the reader index behind it; bytes after the message are the caller's to judge.
/// - Throws: `WireError`; the reader index then stands where it stood.
package func wireDecode<M: WireMessage>(
    _ type: M.Type, from buffer: inout ByteBuffer, version: Int16
) throws(WireError) -> M {
    try M.decodeSelf(from: &buffer, version: version)
}

/// Decodes a message that must end where the buffer ends.
package func wireDecodeWhole<M: WireMessage>(
    _ type: M.Type, from buffer: inout ByteBuffer, version: Int16
) throws(WireError) -> M {
    let message = try M.decodeSelf(from: &buffer, version: version)
    guard buffer.readableBytes == 0 else { throw .bytesLeftOver }
    return message
}

/// Appends a message. Fields that the version does not have are left out; null is written as empty where the version
/// has no null. The version must be one of the message's.
package func wireEncode<M: WireMessage>(_ message: borrowing M, version: Int16, into buffer: inout ByteBuffer) {
    let gaps = message.encodeSelf(into: &buffer, version: version)
    precondition(gaps.positions.isEmpty, "records apart belong to encodeFetchResponseFrame")
}

extension WireMessage {
    package static func decodeSelf(from buffer: inout ByteBuffer, version: Int16) throws(WireError) -> Self {
        guard versions.contains(version) else { throw .unsupportedVersion(version) }
        var message = Self()
        var sizeBytes = 0
        var failure: WireError?
        let frame = buffer
        withUnsafePointer(to: frame) { frame in
            frame.pointee.withUnsafeReadableBytes { bytes in
                var reader = WireReader(
                    frame: frame, bytes: bytes, version: version, isFlexible: version >= flexibleSince)
                do throws(WireError) { try message.walk(&reader) } catch { failure = error }
                sizeBytes = reader.position
            }
        }
        if let failure { throw failure }
        buffer.moveReaderIndex(forwardBy: sizeBytes)
        return message
    }

    package func encodeSelf(into buffer: inout ByteBuffer, version: Int16) -> WireGaps {
        precondition(Self.versions.contains(version), "\(Self.self) has no version \(version)")
        var gaps = WireGaps()
        var needed = max(buffer.writableBytes, 64)
        var done = false
        while !done {
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: needed) { memory in
                var writer = WireWriter(
                    memory: memory, version: version, isFlexible: version >= Self.flexibleSince)
                // Through a pointer for the same reason as in arrays: a copy to walk would retain every field.
                withUnsafePointer(to: self) { UnsafeMutablePointer(mutating: $0).pointee.write(to: &writer) }
                done = !writer.overflowed
                needed = writer.position
                gaps = writer.gaps
                return done ? writer.position : 0
            }
        }
        return gaps
    }
}
