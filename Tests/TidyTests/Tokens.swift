// The words of a line of code, with what stands beside each: enough for rules that must tell `.async` from `async`.

struct Token {
    let text: String
    /// Bytes from the start of the line.
    let offset: Int
    let followsDot: Bool
    let followsCase: Bool
    let followsFunc: Bool
    /// The first character behind the word that is no space; a space at the end of the line.
    let next: Character
}

func isWordByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
    default: byte >= 0x80
    }
}

func tokens(of line: String) -> [Token] {
    let bytes = Array(line.utf8)
    var found: [Token] = []
    var index = 0
    while index < bytes.count {
        guard isWordByte(bytes[index]) else {
            index += 1
            continue
        }
        let start = index
        while index < bytes.count, isWordByte(bytes[index]) { index += 1 }
        var after = index
        while after < bytes.count, bytes[after] == UInt8(ascii: " ") { after += 1 }
        let previous = found.last?.text
        found.append(
            Token(
                text: String(decoding: bytes[start..<index], as: UTF8.self), offset: start,
                followsDot: start > 0 && bytes[start - 1] == UInt8(ascii: "."), followsCase: previous == "case",
                followsFunc: previous == "func",
                next: after < bytes.count ? Character(UnicodeScalar(bytes[after])) : " "))
    }
    return found
}
