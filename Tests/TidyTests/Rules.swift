// The tidy rules: each is a function from one source to the places that break it.

struct Violation: Equatable, CustomStringConvertible {
    let path: String
    let line: Int
    let text: String

    var description: String { "\(path):\(line): \(text)" }
}

enum Rules {
    static let fileLinesMax = 600
    static let functionLinesMax = 70
    static let lineLengthMax = 120

    /// Every rule that applies to a file of Sources/.
    static func all(_ source: SourceText) -> [Violation] {
        shape(source) + functionLengths(source) + imports(source) + purity(source) + unsafety(source) + words(source)
    }

    // MARK: Shape

    static func shape(_ source: SourceText) -> [Violation] {
        var found: [Violation] = []
        let count = source.lines.count - (source.lines.last == "" ? 1 : 0)
        if count > fileLinesMax { found.append(at(source, count, "the file has \(count) lines, over \(fileLinesMax)")) }
        if source.lines.first?.hasPrefix("//") != true {
            found.append(at(source, 1, "the first line must be a comment that says what the file is for"))
        }
        for (index, line) in source.lines.enumerated() where line.count > lineLengthMax {
            found.append(at(source, index + 1, "the line has \(line.count) characters, over \(lineLengthMax)"))
        }
        return found
    }

    static func functionLengths(_ source: SourceText) -> [Violation] {
        var found: [Violation] = []
        for (index, line) in source.code.enumerated() {
            guard let start = functionStart(in: line), let end = functionEnd(source, from: index, start) else {
                continue
            }
            let length = end - index + 1
            if length > functionLinesMax, !saysWhyLong(source, before: index) {
                found.append(
                    at(
                        source, index + 1,
                        "the function has \(length) lines, over \(functionLinesMax), and no `// Long:`"))
            }
        }
        return found
    }

    private static func functionStart(in line: String) -> Int? {
        for token in tokens(of: line) {
            let declares =
                token.text == "func" || (token.text == "init" && !token.followsDot && "?(<".contains(token.next))
            if declares { return token.offset }
        }
        return nil
    }

    /// The line on which the body closes; nil for a requirement without a body.
    private static func functionEnd(_ source: SourceText, from first: Int, _ start: Int) -> Int? {
        var parentheses = 0
        var braces = 0
        for index in first..<source.code.count {
            var line = Array(source.code[index].utf8)
            if index == first { line.removeFirst(start) }
            if index > first, braces == 0, parentheses == 0, beginsDeclaration(source.code[index]) { return nil }
            for byte in line {
                switch byte {
                case UInt8(ascii: "("), UInt8(ascii: "["): parentheses += 1
                case UInt8(ascii: ")"), UInt8(ascii: "]"): parentheses -= 1
                case UInt8(ascii: "{") where parentheses == 0 || braces > 0: braces += 1
                case UInt8(ascii: "}") where braces > 0:
                    braces -= 1
                    if braces == 0 { return index }
                case UInt8(ascii: "}") where parentheses == 0: return nil
                default: break
                }
            }
        }
        return nil
    }

    private static func beginsDeclaration(_ line: String) -> Bool {
        let words: Set<String> = [
            "func", "var", "let", "init", "case", "static", "package", "associatedtype", "mutating",
        ]
        return tokens(of: line).first.map { words.contains($0.text) } ?? false
    }

    private static func saysWhyLong(_ source: SourceText, before index: Int) -> Bool {
        var line = index - 1
        while line >= 0 {
            let text = source.lines[line].drop { $0 == " " }
            if text.hasPrefix("// Long:") { return true }
            guard text.hasPrefix("//") || text.hasPrefix("@") else { return false }
            line -= 1
        }
        return false
    }

    // MARK: Floors

    static func imports(_ source: SourceText) -> [Violation] {
        guard let target = source.target else { return [] }
        guard let room = rooms[target] else {
            return [at(source, 1, "the target \(target) has no row in Tests/TidyTests/Floors.swift")]
        }
        var found: [Violation] = []
        for (index, line) in source.code.enumerated() {
            let words = tokens(of: line)
            guard let place = words.firstIndex(where: { $0.text == "import" }), place + 1 < words.count else {
                continue
            }
            guard words[..<place].allSatisfy({ importModifiers.contains($0.text) }) else { continue }
            let kinds: Set<String> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
            var name = words[place + 1].text
            if kinds.contains(name), place + 2 < words.count { name = words[place + 2].text }
            if let other = rooms[name] {
                if other.floor >= room.floor {
                    found.append(
                        at(
                            source, index + 1,
                            "\(target) (floor \(room.floor)) may not import \(name) (floor \(other.floor))"))
                }
            } else if !room.outside.contains(name) {
                found.append(at(source, index + 1, "\(target) may not import \(name)"))
            }
        }
        return found
    }

    private static let importModifiers: Set<String> = ["testable", "preconcurrency", "package", "internal", "private"]

    static func manifest(_ text: String) -> [Violation] {
        var found: [Violation] = []
        for (name, dependencies) in declaredTargets(inManifest: text) {
            guard let room = rooms[name] else {
                found.append(Violation(path: "Package.swift", line: 1, text: "\(name) has no row in Floors.swift"))
                continue
            }
            for dependency in dependencies {
                guard let other = rooms[dependency], other.floor >= room.floor else { continue }
                found.append(
                    Violation(
                        path: "Package.swift", line: 1,
                        text: "\(name) may not depend on \(dependency), not a lower floor"))
            }
        }
        return found
    }

    // MARK: Purity

    private static let bannedInPure: Set<String> = [
        "Foundation", "Dispatch", "DispatchQueue", "Date", "ContinuousClock", "SuspendingClock", "NIODeadline", "Task",
        "async", "await", "actor", "Logger", "clock_gettime", "gettimeofday", "randomElement",
        "SystemRandomNumberGenerator", "getenv", "print",
    ]

    static func purity(_ source: SourceText) -> [Violation] {
        guard let target = source.target, rooms[target]?.isPure == true else { return [] }
        var found: [Violation] = []
        for (index, line) in source.code.enumerated() {
            for token in tokens(of: line) {
                if bannedInPure.contains(token.text) && !isOrdinaryUse(token) {
                    found.append(at(source, index + 1, "`\(token.text)` in the pure target \(target)"))
                }
            }
            // A generator that is passed in replays; these two draw from the system's.
            for call in [".random(in:", ".random()", "shuffled()", ".shuffle()"] where line.contains(call) {
                found.append(at(source, index + 1, "`\(call)` in the pure target \(target)"))
            }
        }
        return found.filter { !($0.text.contains(".random(in:") && source.lines[$0.line - 1].contains("using:")) }
    }

    /// `.async` is a case of ours (`flush.mode=async`), `Date` a type only when it is called or declared upon, `print`
    /// a call.
    private static func isOrdinaryUse(_ token: Token) -> Bool {
        switch token.text {
        case "await": token.next == "(" || token.followsFunc
        case "async": token.followsDot || token.next == ":" || token.next == "=" || token.followsCase
        case "Date", "print": token.next != "(" || token.followsDot || token.followsFunc
        case "actor", "Task": token.followsDot || token.next == ":"
        default: false
        }
    }

    // MARK: Safety

    static func unsafety(_ source: SourceText) -> [Violation] {
        var found: [Violation] = []
        for (index, line) in source.code.enumerated() {
            if line.contains("try!") { found.append(at(source, index + 1, "`try!`")) }
            if hasForceUnwrap(line) { found.append(at(source, index + 1, "force unwrap")) }
            if line.contains("@testable") { found.append(at(source, index + 1, "`@testable`: make it `package`")) }
            let words = Set(tokens(of: line).map(\.text))
            if words.contains("public") && !mayBePublic(source.path) {
                found.append(at(source, index + 1, "`public`: the house says `package`"))
            }
            let unchecked = line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)")
            if unchecked, !hasComment(source, on: index) {
                found.append(at(source, index + 1, "no proof beside what the compiler does not check"))
            }
            for word in ["TODO", "FIXME"] where source.lines[index].contains(word) {
                found.append(at(source, index + 1, "\(word)"))
            }
        }
        return found
    }

    /// The client library's face, and what of the lower floors it shows under names of its own (Names.swift).
    private static func mayBePublic(_ path: String) -> Bool {
        // Model: see decision 0027.
        path.contains("Sources/MartletClient/") || path.contains("Sources/Model/")
            || ["Records/Compression", "Records/Record"].contains { path.hasSuffix("Sources/\($0).swift") }
    }

    private static func hasComment(_ source: SourceText, on index: Int) -> Bool {
        source.lines[index].contains("//")
            || (index > 0 && source.lines[index - 1].drop { $0 == " " }.hasPrefix("//"))
    }

    private static func hasForceUnwrap(_ line: String) -> Bool {
        let bytes = Array(line.utf8)
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "!") && index > 0 {
            let before = bytes[index - 1]
            let after = index + 1 < bytes.count ? bytes[index + 1] : 0
            let ends = isWordByte(before) || before == UInt8(ascii: ")") || before == UInt8(ascii: "]")
            if ends, after != UInt8(ascii: "=") || (index + 2 < bytes.count && bytes[index + 2] == UInt8(ascii: "=")) {
                return true
            }
        }
        return false
    }

    // MARK: Words

    /// Banned as any word of a type's name.
    private static let bannedAnywhere: Set<String> = ["Manager", "Helper", "Helpers", "Util", "Utils", "Impl"]
    /// Banned as the last word: they say nothing about what the type is. (`DataDirectory` does.)
    private static let bannedLast: Set<String> = ["Base", "Common", "Info", "Data"]

    static func words(_ source: SourceText) -> [Violation] {
        let declaring: Set<String> = ["struct", "class", "enum", "actor", "protocol", "typealias", "extension"]
        var found: [Violation] = []
        for (index, line) in source.code.enumerated() {
            let words = tokens(of: line)
            for (place, word) in words.enumerated() where declaring.contains(word.text) && place + 1 < words.count {
                let name = words[place + 1].text
                if let banned = bannedWord(in: name), word.text != "extension" {
                    found.append(at(source, index + 1, "the name \(name) says `\(banned)`"))
                }
            }
        }
        let stem = source.fileName.replacing(".swift", with: "")
        if let banned = bannedWord(in: stem) { found.append(at(source, 1, "the file name says `\(banned)`")) }
        return found
    }

    private static func bannedWord(in name: String) -> String? {
        var words: [String] = []
        for character in name {
            if character.isUppercase || words.isEmpty { words.append("") }
            words[words.count - 1].append(character)
        }
        if let anywhere = words.first(where: { bannedAnywhere.contains($0) }) { return anywhere }
        return words.last.flatMap { bannedLast.contains($0) ? $0 : nil }
    }

    private static func at(_ source: SourceText, _ line: Int, _ text: String) -> Violation {
        Violation(path: source.path, line: line, text: text)
    }
}
