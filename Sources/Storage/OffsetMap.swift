// The newest offset of each key in the part of a log that is cleaned, within a budget of bytes.

import Model

/// 24 bytes an entry, in 64 open-addressed tables that grow one at a time, so that no single step copies much.
package struct OffsetMap {
    private struct Entry {
        var hash: KeyHash
        /// −1: free.
        var offset: Offset
    }

    private static let entryBytes = 24
    private static let partsCount = 64
    private static let leastSlots = 16
    private static let free = Entry(hash: KeyHash(high: 0, low: 0), offset: -1)

    private let bytesMax: Int
    private var parts: [[Entry]]
    private var counts: [Int]
    package private(set) var count = 0
    package private(set) var sizeBytes = 0

    package init(bytesMax: Int) {
        self.bytesMax = bytesMax
        parts = Array(repeating: [], count: Self.partsCount)
        counts = Array(repeating: 0, count: Self.partsCount)
    }

    /// Notes that a record of that key stands at `offset`; of several the highest counts. False: the key is new, and
    /// there is no room for it.
    package mutating func put(_ hash: KeyHash, _ offset: Offset) -> Bool {
        let part = Int(hash.high >> 58)
        if let slot = slot(of: hash, in: part), parts[part][slot].offset >= 0 {
            parts[part][slot].offset = max(parts[part][slot].offset, offset)
            return true
        }
        let slots = parts[part].count
        if counts[part] + 1 > slots - slots / 4, !grow(part), counts[part] + 1 > slots - slots / 16 { return false }
        guard let slot = slot(of: hash, in: part) else { return false }
        parts[part][slot] = Entry(hash: hash, offset: offset)
        counts[part] += 1
        count += 1
        return true
    }

    package func offset(of hash: KeyHash) -> Offset? {
        let part = Int(hash.high >> 58)
        guard let slot = slot(of: hash, in: part), parts[part][slot].offset >= 0 else { return nil }
        return parts[part][slot].offset
    }

    /// Where the key is, or would be; nil in a table without a free slot.
    private func slot(of hash: KeyHash, in part: Int) -> Int? {
        let mask = parts[part].count - 1
        guard mask >= 0 else { return nil }
        var slot = Int(truncatingIfNeeded: hash.low) & mask
        for _ in 0...mask {
            let entry = parts[part][slot]
            if entry.offset < 0 || entry.hash == hash { return slot }
            slot = (slot + 1) & mask
        }
        return nil
    }

    /// The first table may always be made: a cleaning takes at least one key.
    private mutating func grow(_ part: Int) -> Bool {
        let old = parts[part]
        let slots = old.isEmpty ? Self.leastSlots : old.count * 2
        let added = (slots - old.count) * Self.entryBytes
        guard sizeBytes == 0 || sizeBytes + added <= bytesMax else { return false }
        parts[part] = Array(repeating: Self.free, count: slots)
        sizeBytes += added
        for entry in old where entry.offset >= 0 {
            if let slot = slot(of: entry.hash, in: part) { parts[part][slot] = entry }
        }
        return true
    }
}
