// What can be wrong with bytes from outside. Decoding answers with one of these; it never traps.

package enum WireError: Error, Hashable, Sendable {
    /// The bytes end before the message does, or an array declares more elements than the bytes could hold.
    case truncated
    /// A length below −1, a string above 32,767 bytes, or a size that does not fit its field.
    case invalidLength
    /// A varint of more than five bytes, or above 32 bits.
    case invalidVarint
    /// A string that is not UTF-8. Names are compared byte by byte, so nothing is repaired.
    case invalidUTF8
    /// Null where this version of the message has no null.
    case unexpectedNull
    /// A tagged field whose value is shorter or longer than its declared size.
    case tagSizeMismatch
    /// Bytes remain after a message that should end its frame.
    case bytesLeftOver
    /// A version of a message or record that this build does not speak.
    case unsupportedVersion(Int16)
    /// A metadata record's frame version other than 1.
    case unsupportedFrameVersion(UInt32)
    /// A metadata record type that this build does not know, or a control record of another type than asked.
    case unknownRecordType(UInt32)
}
