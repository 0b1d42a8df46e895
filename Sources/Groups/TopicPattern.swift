// Regular expressions over topic names: the part of RE2 that people write for topics, matched without backtracking.

/// Literals, `.`, classes, `\d \w \s`, groups, `|`, `* + ?`, `{m,n}`, `^` and `$`. The whole name must match, as with
/// Kafka. What is not understood makes no pattern, never a wrong one. A name is matched in one pass over a set of
/// states: each byte of it costs at most one step for each of them, so no expression can take long.
package struct TopicPattern {
    private enum Test {
        case any
        case bytes(ByteSet)
    }

    private enum State {
        case test(Test, next: Int)
        case split(Int, Int)
        case end
    }

    private indirect enum Node {
        case nothing
        case test(Test)
        case sequence([Node])
        case choice([Node])
        case times(Node, Int, Int?)
    }

    package static let lengthMax = 1_000
    package static let statesMax = 500

    private var states: [State] = []
    private var start = 0
    private var builds = 0

    /// Nil: not understood, or too large.
    package init?(_ text: String) {
        guard text.utf8.count <= Self.lengthMax else { return nil }
        var parser = Parser(rest: Array(text.utf8)[...])
        guard let node = parser.choice(), parser.rest.isEmpty else { return nil }
        states = [.end]
        guard let first = build(node, before: 0) else { return nil }
        start = first
    }

    package func matches(_ name: String) -> Bool {
        var steps = 0
        return matches(name, steps: &steps)
    }

    /// - Parameter steps: counts the states that were entered: at most all of them for each byte, and before the first.
    package func matches(_ name: String, steps: inout Int) -> Bool {
        var now = StateSet(count: states.count)
        var next = now
        var open: [Int] = []
        reach(start, &now, &open, &steps)
        for byte in name.utf8 {
            if now.tests.isEmpty { return false }
            next.removeAll()
            for state in now.tests {
                guard case .test(let test, let to) = states[state] else { continue }
                switch test {
                case .any: reach(to, &next, &open, &steps)
                case .bytes(let bytes): if bytes.contains(byte) { reach(to, &next, &open, &steps) }
                }
            }
            swap(&now, &next)
        }
        return now.contains(0)
    }

    private func reach(_ first: Int, _ reached: inout StateSet, _ open: inout [Int], _ steps: inout Int) {
        open.append(first)
        while let state = open.popLast() {
            guard reached.insert(state) else { continue }
            steps += 1
            switch states[state] {
            case .test: reached.tests.append(state)
            case .split(let a, let b):
                open.append(a)
                open.append(b)
            case .end: break
            }
        }
    }

    /// One bit for each state.
    private struct StateSet {
        private var words: [UInt64]
        /// Those of them that a byte can leave.
        var tests: [Int] = []

        init(count: Int) { words = [UInt64](repeating: 0, count: (count + 63) / 64) }

        func contains(_ state: Int) -> Bool { words[state / 64] >> (state % 64) & 1 == 1 }

        /// Whether it was not in there.
        mutating func insert(_ state: Int) -> Bool {
            let bit: UInt64 = 1 << (state % 64)
            defer { words[state / 64] |= bit }
            return words[state / 64] & bit == 0
        }

        mutating func removeAll() {
            for place in words.indices { words[place] = 0 }
            tests.removeAll(keepingCapacity: true)
        }
    }

    private struct ByteSet {
        private var bits = SIMD4<UInt64>()

        init(_ bytes: some Sequence<UInt8>) { for byte in bytes { bits[Int(byte >> 6)] |= 1 << (byte & 63) } }

        func contains(_ byte: UInt8) -> Bool { bits[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }
    }

    // MARK: Building

    /// Adds the states of a node in front of the state `next`; answers the first of them.
    private mutating func build(_ node: Node, before next: Int) -> Int? {
        // Repetitions of repetitions: what they add up to is counted, also where it adds nothing.
        builds += 1
        guard states.count < Self.statesMax, builds < 4 * Self.statesMax else { return nil }
        switch node {
        case .nothing: return next
        case .test(let test): return add(.test(test, next: next))
        case .sequence(let nodes):
            var first = next
            for node in nodes.reversed() {
                guard let before = build(node, before: first) else { return nil }
                first = before
            }
            return first
        case .choice(let nodes):
            var first: Int?
            for node in nodes.reversed() {
                guard let way = build(node, before: next) else { return nil }
                first = first.map { add(.split(way, $0)) } ?? way
            }
            return first ?? next
        case .times(let node, let least, let most):
            var first = next
            if let most {
                for _ in 0..<(most - least) {
                    guard let once = build(node, before: first) else { return nil }
                    first = add(.split(once, next))
                }
            } else {
                let loop = add(.split(next, next))
                guard let once = build(node, before: loop) else { return nil }
                states[loop] = .split(once, next)
                first = loop
            }
            for _ in 0..<least {
                guard let before = build(node, before: first) else { return nil }
                first = before
            }
            return first
        }
    }

    private mutating func add(_ state: State) -> Int {
        states.append(state)
        return states.count - 1
    }

    // MARK: Parsing

    private struct Parser {
        var rest: ArraySlice<UInt8>
        var depth = 0

        private mutating func take(_ byte: Character) -> Bool {
            guard rest.first == byte.asciiValue else { return false }
            rest.removeFirst()
            return true
        }

        mutating func choice() -> Node? {
            depth += 1
            defer { depth -= 1 }
            guard depth < 50, let first = sequence() else { return nil }
            var ways = [first]
            while take("|") {
                guard let way = sequence() else { return nil }
                ways.append(way)
            }
            return ways.count == 1 ? first : .choice(ways)
        }

        private mutating func sequence() -> Node? {
            var nodes: [Node] = []
            let isFirst = depth == 1
            // The whole name is matched: anchors at the ends say nothing new, elsewhere they are not understood.
            if isFirst { _ = take("^") }
            while let byte = rest.first, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
                if isFirst, byte == UInt8(ascii: "$"), rest.count == 1 || rest.dropFirst().first == UInt8(ascii: "|") {
                    rest.removeFirst()
                    continue
                }
                guard let node = repeated() else { return nil }
                nodes.append(node)
            }
            return nodes.isEmpty ? .nothing : .sequence(nodes)
        }

        private mutating func repeated() -> Node? {
            guard var node = one() else { return nil }
            if take("*") {
                node = .times(node, 0, nil)
            } else if take("+") {
                node = .times(node, 1, nil)
            } else if take("?") {
                node = .times(node, 0, 1)
            } else if take("{") {
                guard let least = number() else { return nil }
                var most: Int? = least
                if take(",") { most = rest.first == UInt8(ascii: "}") ? nil : number() ?? -1 }
                guard take("}"), most ?? least >= least else { return nil }
                node = .times(node, least, most)
            } else {
                return node
            }
            // Lazy or not, the whole name matches or does not.
            _ = take("?")
            return rest.first.map { "*+?{".utf8.contains($0) } ?? false ? nil : node
        }

        private mutating func number() -> Int? {
            let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            guard (1...3).contains(digits.count) else { return nil }
            rest.removeFirst(digits.count)
            return Int(String(decoding: digits, as: UTF8.self))
        }

        private mutating func one() -> Node? {
            if take(".") { return .test(.any) }
            if take("(") {
                if take("?"), !take(":") { return nil }
                guard let inner = choice(), take(")") else { return nil }
                return inner
            }
            if take("[") { return bracket() }
            if take("\\") { return escape().map { .test(.bytes(ByteSet($0))) } }
            guard let byte = rest.first, !"*+?{}[]^$".utf8.contains(byte), byte < 0x80 else { return nil }
            rest.removeFirst()
            return .test(.bytes(ByteSet([byte])))
        }

        private mutating func escape() -> Set<UInt8>? {
            guard let byte = rest.popFirst() else { return nil }
            let digits = Set(UInt8(ascii: "0")...UInt8(ascii: "9"))
            let word = digits.union(UInt8(ascii: "a")...UInt8(ascii: "z")).union(UInt8(ascii: "A")...UInt8(ascii: "Z"))
                .union([UInt8(ascii: "_")])
            let space: Set<UInt8> = [9, 10, 12, 13, 32]
            switch Character(UnicodeScalar(byte)) {
            case "d": return digits
            case "D": return Self.all.subtracting(digits)
            case "w": return word
            case "W": return Self.all.subtracting(word)
            case "s": return space
            case "S": return Self.all.subtracting(space)
            default: return word.contains(byte) || byte >= 0x80 ? nil : [byte]
            }
        }

        private static let all = Set(UInt8.min...UInt8.max)

        private mutating func bracket() -> Node? {
            let isNot = take("^")
            var bytes: Set<UInt8> = []
            var isFirst = true
            while let byte = rest.popFirst() {
                if byte == UInt8(ascii: "]"), !isFirst {
                    return .test(.bytes(ByteSet(isNot ? Self.all.subtracting(bytes) : bytes)))
                }
                isFirst = false
                guard byte < 0x80, byte != UInt8(ascii: "[") else { return nil }
                if byte == UInt8(ascii: "\\") {
                    guard let escaped = escape() else { return nil }
                    bytes.formUnion(escaped)
                    continue
                }
                guard rest.first == UInt8(ascii: "-"), let last = rest.dropFirst().first, last != UInt8(ascii: "]")
                else {
                    bytes.insert(byte)
                    continue
                }
                guard last >= byte, last < 0x80, last != UInt8(ascii: "\\") else { return nil }
                rest.removeFirst(2)
                bytes.formUnion(byte...last)
            }
            return nil
        }
    }
}
