// A checksum for the small text files whose formats are Kafka's and have none: a last line, or a last field, that
// Kafka's readers pass over. One flipped bit in them would otherwise be another log start, another topic or another
// vote.

import NIOCore
import Records

enum TextChecksum {
    /// CRC-32C of `text` in ten digits.
    static func of(_ text: some StringProtocol) -> String {
        let digits = String(crc32c(ByteBuffer(string: String(text))))
        return String(repeating: "0", count: 10 - digits.utf8.count) + digits
    }

    /// Whether what follows the last `mark` in `text` is the checksum of what lies before it. True where there is no
    /// such mark: files of before had none.
    static func holds(_ text: String, after mark: String, endingIn end: String) -> Bool {
        let bytes = text.utf8
        var position = bytes.endIndex
        while !bytes[position...].starts(with: mark.utf8) {
            guard position > bytes.startIndex else { return true }
            position = bytes.index(before: position)
        }
        return text[position...] == "\(mark)\(of(text[..<position]))\(end)"
    }
}
