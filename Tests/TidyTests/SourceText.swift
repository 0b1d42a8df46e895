// A Swift source as the tidy rules see it: its raw lines, and the same lines with comments and string literals blanked
// out.

struct SourceText {
    /// Path from the root of the project, as violations name it.
    let path: String
    let lines: [String]
    /// Same count of lines as `lines`; comments and the insides of string literals are spaces, so that rules about code
    /// see only code.
    let code: [String]

    init(path: String, text: String) {
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var blanker = Blanker(Array(text.utf8))
        code = String(decoding: blanker.run(), as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// `Raft` for `Sources/Raft/RaftNode.swift`.
    var target: String? {
        let parts = path.split(separator: "/")
        return parts.count > 2 && parts[0] == "Sources" ? String(parts[1]) : nil
    }

    var fileName: String { path.split(separator: "/").last.map(String.init) ?? path }
}

/// Walks the bytes of a source once and keeps only code and line ends. Regex literals are not known to it; the house
/// does not use them.
private struct Blanker {
    private let bytes: [UInt8]
    private var out: [UInt8] = []
    private var index = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func run() -> [UInt8] {
        out.reserveCapacity(bytes.count)
        code(until: nil)
        return out
    }

    private func at(_ offset: Int) -> UInt8 { index + offset < bytes.count ? bytes[index + offset] : 0 }
    private func sees(_ text: StaticString) -> Bool {
        for offset in 0..<text.utf8CodeUnitCount where at(offset) != text.utf8Start[offset] { return false }
        return true
    }
    private mutating func keep() {
        out.append(bytes[index])
        index += 1
    }
    private mutating func blank(_ count: Int = 1) {
        for _ in 0..<count where index < bytes.count {
            out.append(bytes[index] == UInt8(ascii: "\n") ? bytes[index] : UInt8(ascii: " "))
            index += 1
        }
    }

    /// Code, up to the parenthesis that closes an interpolation when `close` is given.
    private mutating func code(until close: UInt8?) {
        var depth = 0
        while index < bytes.count {
            if sees("//") {
                while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { blank() }
            } else if sees("/*") {
                blockComment()
            } else if let hashes = stringStart() {
                string(hashes: hashes)
            } else {
                if at(0) == UInt8(ascii: "(") { depth += 1 }
                if at(0) == UInt8(ascii: ")") {
                    if depth == 0, close != nil { return blank() }
                    depth -= 1
                }
                keep()
            }
        }
    }

    private mutating func blockComment() {
        var depth = 0
        repeat {
            if sees("/*") {
                depth += 1
                blank(2)
            } else if sees("*/") {
                depth -= 1
                blank(2)
            } else {
                blank()
            }
        } while depth > 0 && index < bytes.count
    }

    /// The count of `#` before a string literal that begins here; nil when none begins.
    private func stringStart() -> Int? {
        var hashes = 0
        while at(hashes) == UInt8(ascii: "#") { hashes += 1 }
        return at(hashes) == UInt8(ascii: "\"") ? hashes : nil
    }

    private func hashes(_ count: Int, after offset: Int) -> Bool {
        (0..<count).allSatisfy { at(offset + $0) == UInt8(ascii: "#") }
    }

    private mutating func string(hashes count: Int) {
        for _ in 0..<count { keep() }
        let long = sees("\"\"\"")
        let quotes = long ? 3 : 1
        for _ in 0..<quotes { keep() }
        while index < bytes.count {
            if (long ? sees("\"\"\"") : sees("\"")) && hashes(count, after: quotes) {
                for _ in 0..<quotes + count { keep() }
                return
            }
            if at(0) == UInt8(ascii: "\\"), hashes(count, after: 1) {
                let interpolates = at(1 + count) == UInt8(ascii: "(")
                blank(2 + count)
                if interpolates { code(until: UInt8(ascii: ")")) }
            } else if !long, at(0) == UInt8(ascii: "\n") {
                return
            } else {
                blank()
            }
        }
    }
}
