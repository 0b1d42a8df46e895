// One file of the simulated disk: what everybody reads, and what a loss of power would leave.

import Model
import NIOCore
import Storage

/// A change of a file that no barrier has covered yet.
struct FileChange {
    enum Kind {
        case write(position: Int, bytes: [UInt8])
        case truncate(sizeBytes: Int)
    }

    var sequence: UInt64
    var kind: Kind
}

final class SimulatedFile {
    let number: Int
    /// The page cache.
    private(set) var contents: [UInt8] = []
    /// The medium. It follows `contents` change by change, so nothing is ever copied whole.
    private(set) var durable: [UInt8] = []
    private(set) var changes: [FileChange] = []
    /// Bytes that the medium does not give back, until they are written again.
    private(set) var badSector: Range<Int>?

    static let sectorBytes = 512

    init(number: Int) { self.number = number }

    init(copying file: SimulatedFile) {
        (number, contents, durable, changes) = (file.number, file.contents, file.durable, file.changes)
        badSector = file.badSector
    }

    func write(_ bytes: [UInt8], at position: Int, sequence: UInt64) {
        guard !bytes.isEmpty else { return }
        Self.put(bytes[...], at: position, into: &contents)
        if isUnreadable(position..<position + bytes.count) { badSector = nil }
        changes.append(FileChange(sequence: sequence, kind: .write(position: position, bytes: bytes)))
    }

    func truncate(to sizeBytes: Int, sequence: UInt64) {
        Self.resize(&contents, to: sizeBytes)
        if let sector = badSector, sector.lowerBound >= sizeBytes { badSector = nil }
        changes.append(FileChange(sequence: sequence, kind: .truncate(sizeBytes: sizeBytes)))
    }

    /// Everything up to `sequence` reaches the medium.
    func sync(upTo sequence: UInt64) {
        let count = changes.firstIndex { $0.sequence > sequence } ?? changes.count
        for change in changes[..<count] { Self.apply(change.kind, to: &durable) }
        changes.removeFirst(count)
    }

    /// Everything up to `sequence` is lost, though it can still be read: what a failed fsync does.
    func lose(upTo sequence: UInt64) {
        changes.removeAll { $0.sequence <= sequence }
    }

    /// A replacement that is atomic and durable.
    func replace(with bytes: [UInt8]) {
        (contents, durable, changes) = (bytes, bytes, [])
    }

    func spoilSector(at position: Int) {
        let start = position / Self.sectorBytes * Self.sectorBytes
        badSector = start..<start + Self.sectorBytes
    }

    func isUnreadable(_ positions: Range<Int>) -> Bool { badSector?.overlaps(positions) ?? false }

    func flip(_ mask: UInt8, at position: Int) {
        if position < contents.count { contents[position] ^= mask }
        if position < durable.count { durable[position] ^= mask }
    }

    /// A change of the contents that is on the medium at once, behind the back of everybody.
    func tamper(_ change: (inout [UInt8]) -> Void) {
        change(&contents)
        (durable, changes, badSector) = (contents, [], nil)
    }

    /// `isYounger`: whether the file is of the later half of those that have something to lose.
    func losePower(_ policy: PowerLossPolicy, isYounger: Bool, random: inout SeededRandom) {
        switch policy {
        case .keepNothing, .namesOnly: break
        case .youngerFiles where !isYounger, .olderFiles where isYounger: break
        case .keepEverything, .contentsOnly, .youngerFiles, .olderFiles:
            for change in changes { Self.apply(change.kind, to: &durable) }
        case .allButFirst:
            for change in changes.dropFirst() { Self.apply(change.kind, to: &durable) }
        case .sizesWithoutContents: growWithoutContents(&random)
        case .someOperations:
            for change in changes where random.oneIn(2) { Self.apply(change.kind, to: &durable) }
        case .someSectors:
            for change in changes { applySectors(change.kind, &random) }
        case .tornLastWrite: tear(&random)
        case .onlyLast:
            if let last = changes.last { Self.apply(last.kind, to: &durable) }
        case .lastWriteUpTo(let sector): cutLastWrite(sector, keepsTail: false)
        case .lastWriteBehind(let sector): cutLastWrite(sector, keepsTail: true)
        }
        (contents, changes) = (durable, [])
    }

    private func growWithoutContents(_ random: inout SeededRandom) {
        let garbage = random.oneIn(2)
        let known = durable.count
        Self.resize(&durable, to: contents.count)
        guard garbage, known < durable.count else { return }
        for index in known..<durable.count { durable[index] = UInt8(truncatingIfNeeded: random.next()) }
    }

    private func applySectors(_ kind: FileChange.Kind, _ random: inout SeededRandom) {
        guard case .write(let position, let bytes) = kind else {
            if random.oneIn(2) { Self.apply(kind, to: &durable) }
            return
        }
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + Self.sectorBytes - (position + start) % Self.sectorBytes)
            if random.oneIn(2) { Self.put(bytes[start..<end], at: position + start, into: &durable) }
            start = end
        }
    }

    private func cutLastWrite(_ sector: Int, keepsTail: Bool) {
        let last = changes.lastIndex { if case .write = $0.kind { true } else { false } }
        for (index, change) in changes.enumerated() {
            guard index == last, case .write(let position, let bytes) = change.kind else {
                Self.apply(change.kind, to: &durable)
                continue
            }
            let edge = sector == 0 ? 0 : min(bytes.count, sector * Self.sectorBytes - position % Self.sectorBytes)
            if keepsTail {
                Self.put(bytes[edge...], at: position + edge, into: &durable)
            } else {
                Self.put(bytes[..<edge], at: position, into: &durable)
            }
        }
    }

    private func tear(_ random: inout SeededRandom) {
        let kept = Int(random.below(Int64(changes.count + 1)))
        for change in changes.prefix(kept) { Self.apply(change.kind, to: &durable) }
        guard kept < changes.count, case .write(let position, let bytes) = changes[kept].kind else { return }
        Self.put(bytes.prefix(Int(random.below(Int64(bytes.count)))), at: position, into: &durable)
    }

    private static func apply(_ kind: FileChange.Kind, to bytes: inout [UInt8]) {
        switch kind {
        case .write(let position, let written): put(written[...], at: position, into: &bytes)
        case .truncate(let sizeBytes): resize(&bytes, to: sizeBytes)
        }
    }

    private static func put(_ written: ArraySlice<UInt8>, at position: Int, into bytes: inout [UInt8]) {
        guard !written.isEmpty else { return }
        if position > bytes.count { resize(&bytes, to: position) }
        let overlap = min(bytes.count - position, written.count)
        if overlap > 0 { bytes.replaceSubrange(position..<position + overlap, with: written.prefix(overlap)) }
        bytes.append(contentsOf: written.dropFirst(overlap))
    }

    private static func resize(_ bytes: inout [UInt8], to sizeBytes: Int) {
        if bytes.count > sizeBytes {
            bytes.removeLast(bytes.count - sizeBytes)
        } else {
            bytes.append(contentsOf: repeatElement(0, count: sizeBytes - bytes.count))
        }
    }
}
