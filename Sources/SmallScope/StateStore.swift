// Every state that was met, once, in the order of its discovery: a state is a row of numbers that name its parts.

/// Up to sixteen part numbers; a scope uses the first of them and leaves the rest 0.
package typealias StateRow = SIMD16<UInt32>

/// The rows lie in blocks, so that growing copies nothing; a table of row numbers finds them again. Exact: rows are
/// compared, never fingerprints.
struct StateStore {
    private static let blockRows = 1 << 16

    let width: Int
    private(set) var count = 0
    private var blocks: [[UInt32]] = []
    /// The row each was first reached from.
    private var parents: [UInt32] = []
    /// Row number plus one; 0: free.
    private var slots: [UInt32]
    private var mask: Int

    init(width: Int) {
        self.width = width
        slots = [UInt32](repeating: 0, count: 1 << 16)
        mask = slots.count - 1
    }

    func row(_ index: Int) -> StateRow {
        var row = StateRow()
        let block = index / Self.blockRows
        let start = index % Self.blockRows * width
        for part in 0..<width { row[part] = blocks[block][start + part] }
        return row
    }

    func parent(_ index: Int) -> Int { Int(parents[index]) }

    /// Answers the row's number, and whether it is new.
    mutating func insert(_ row: StateRow, from parent: Int) -> (index: Int, isNew: Bool) {
        var slot = hash(row) & mask
        while slots[slot] != 0 {
            let found = Int(slots[slot]) - 1
            if matches(found, row) { return (found, false) }
            slot = (slot + 1) & mask
        }
        slots[slot] = UInt32(count + 1)
        if count % Self.blockRows == 0 {
            var block: [UInt32] = []
            block.reserveCapacity(Self.blockRows * width)
            blocks.append(block)
        }
        let last = blocks.count - 1
        for part in 0..<width { blocks[last].append(row[part]) }
        parents.append(UInt32(parent))
        count += 1
        if count * 10 > slots.count * 7 { grow() }
        return (count - 1, true)
    }

    private func matches(_ index: Int, _ row: StateRow) -> Bool {
        let block = index / Self.blockRows
        let start = index % Self.blockRows * width
        for part in 0..<width where blocks[block][start + part] != row[part] { return false }
        return true
    }

    private func hash(_ row: StateRow) -> Int {
        var hash: UInt64 = 0x9E37_79B9_7F4A_7C15
        for part in 0..<width {
            hash = (hash ^ UInt64(row[part])) &* 0xBF58_476D_1CE4_E5B9
            hash ^= hash >> 29
        }
        return Int(truncatingIfNeeded: (hash ^ (hash >> 32)) & 0x7FFF_FFFF_FFFF_FFFF)
    }

    private mutating func grow() {
        let size = slots.count * 2
        slots = []
        slots = [UInt32](repeating: 0, count: size)
        mask = size - 1
        for index in 0..<count {
            var slot = hash(row(index)) & mask
            while slots[slot] != 0 { slot = (slot + 1) & mask }
            slots[slot] = UInt32(index + 1)
        }
    }
}

/// Gives equal values one number, so that a state can name its parts and equal parts are kept once.
struct Numbering<Value: Hashable> {
    private(set) var values: [Value] = []
    private var numbers: [Value: UInt32] = [:]

    var count: Int { values.count }

    subscript(number: UInt32) -> Value {
        _read { yield values[Int(number)] }
    }

    mutating func number(_ value: Value) -> UInt32 {
        if let known = numbers[value] { return known }
        let number = UInt32(values.count)
        values.append(value)
        numbers[value] = number
        return number
    }
}
