// The names of a segment's files: its base offset in twenty digits, as Kafka writes them.

import Model

package enum SegmentFiles {
    package static let epochCheckpoint = "leader-epoch-checkpoint"
    package static let log = ".log"
    static let suffixes = [log, ".index", ".timeindex"]
    /// On its way in, and nothing yet: the next opening sweeps it away.
    static let cleaned = ".log.cleaned"
    /// Whole and on the medium: it stands for all segments that begin within it. The next opening finishes that.
    static let swap = ".log.swap"
    /// What belongs to a segment and goes when it goes, though others write it.
    static let companions = [".txnindex", ".snapshot"]

    package static func path(_ directory: String, _ baseOffset: Offset, _ suffix: String) -> String {
        directory + "/" + name(baseOffset) + suffix
    }

    static func name(_ baseOffset: Offset) -> String {
        let digits = String(baseOffset)
        return String(repeating: "0", count: max(0, 20 - digits.utf8.count)) + digits
    }

    /// The base offset of a file called twenty digits and `suffix`; nil for any other name.
    package static func baseOffset(of name: String, suffix: String) -> Offset? {
        guard name.utf8.count == 20 + suffix.utf8.count, name.hasSuffix(suffix) else { return nil }
        let digits = name.utf8.prefix(20)
        guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return Offset(name.prefix(20))
    }

    /// The directory that holds `directory`; nil at the top.
    static func parent(of directory: String) -> String? {
        guard let slash = directory.lastIndex(of: "/"), slash != directory.startIndex else { return nil }
        return String(directory[..<slash])
    }
}
