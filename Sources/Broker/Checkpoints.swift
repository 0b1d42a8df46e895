// Kafka's offset checkpoint files of one data directory: recovery points, log starts and high watermarks, one line a
// partition; beside them, where there are compacted logs, how far these are clean. All but log starts are caches: lost
// ones cost a longer scan at the next start, or a longer cleaning, never a record. A log start is on disk here before
// anything below it is gone.

import Model
import NIOCore
import Storage

struct Checkpoints {
    private(set) var recoveryPoints = SortedMap<String, Offset>()
    private(set) var logStartOffsets = SortedMap<String, Offset>()
    private(set) var highWatermarks = SortedMap<String, Offset>()
    /// Never above what is clean: see `SegmentedLog.cleanedEnd`. 0: nothing is, and yet there may be empty batches,
    /// which a change of the policy and a copy leave behind.
    private(set) var cleanedEnds = SortedMap<String, Offset>()
    /// There are compacted logs, or were: their file is written too.
    private var hasCleaned = false
    /// False: their file was damaged.
    private(set) var knowsCleanedEnds = true
    /// Caches that were there and are not what was written: they say nothing.
    private(set) var damagedFiles: [String] = []
    private var isChanged = false
    private var sequence: UInt64 = 0

    /// The owner number of the checkpoint files' flush tickets; logs count from 1.
    static let owner: UInt32 = 0
    private static let startGeneration: UInt32 = 2
    private static let startSnapshotGeneration: UInt32 = 3
    static let intervalMs: Int64 = 1_000

    /// Behind the names of this shard's files.
    private var ending = ""

    static let recoveryPointFile = "recovery-point-offset-checkpoint"
    static let logStartFile = "log-start-offset-checkpoint"
    static let highWatermarkFile = "replication-offset-checkpoint"
    static let cleanerFile = "cleaner-offset-checkpoint"

    init() {}

    /// What concerns one shard of a node that has `count`. A file that is missing says nothing, nor does a cache that
    /// is damaged. Damaged log starts would delete records, or bring deleted ones back.
    init(reading disk: any Disk, _ directory: DataDirectory, shard: Int, of count: Int) throws(BootError) {
        ending = count > 1 ? CheckpointShare(shard: shard, count: count).ending : ""
        let names: [String]
        do throws(DiskError) { names = try disk.list(directory.path) } catch {
            throw .refused("the data directory \(directory.path) cannot be listed: \(error)")
        }
        func own(_ file: String) -> SortedMap<String, Offset>? {
            guard
                var lines = CheckpointShare.lines(
                    of: file, among: names, read: { Self.read("\(directory.path)/\($0)", disk) })
            else { return nil }
            if count > 1 {
                for name in lines.keys where Placement.shard(ofDirectory: name, count: count) != shard {
                    lines.removeValue(forKey: name)
                }
            }
            return lines
        }
        var damaged: [String] = []
        func cache(_ file: String) -> SortedMap<String, Offset> {
            if let lines = own(file) { return lines }
            damaged.append("\(directory.path)/\(file)")
            return SortedMap()
        }
        recoveryPoints = cache(Self.recoveryPointFile)
        highWatermarks = cache(Self.highWatermarkFile)
        cleanedEnds = cache(Self.cleanerFile)
        hasCleaned = names.contains { $0.hasPrefix(Self.cleanerFile) }
        knowsCleanedEnds = !damaged.contains { $0.hasSuffix(Self.cleanerFile) }
        damagedFiles = damaged
        guard let starts = own(Self.logStartFile) else { throw Self.refusal(of: directory) }
        logStartOffsets = starts
    }

    mutating func note(
        _ name: String, recoveryPoint: Offset, logStartOffset: Offset, highWatermark: Offset, cleanedEnd: Offset?
    ) {
        guard
            recoveryPoints[name] != recoveryPoint || logStartOffsets[name] != logStartOffset
                || highWatermarks[name] != highWatermark || cleanedEnds[name] != cleanedEnd
        else { return }
        if cleanedEnd != nil { hasCleaned = true }
        cleanedEnds[name] = cleanedEnd
        recoveryPoints[name] = recoveryPoint
        logStartOffsets[name] = logStartOffset
        highWatermarks[name] = highWatermark
        isChanged = true
    }

    mutating func note(_ name: String, logStartOffset: Offset) {
        logStartOffsets[name] = logStartOffset
    }

    /// Before a cut. No log start: the first segment tells it.
    mutating func lower(_ name: String, recoveryPoint: Offset, logStartOffset: Offset?, highWatermark: Offset) {
        recoveryPoints[name] = recoveryPoint
        logStartOffsets[name] = logStartOffset
        highWatermarks[name] = highWatermark
        isChanged = true
    }

    /// Before a cut, or before something else takes the place of what was clean.
    mutating func lower(_ name: String, cleanedEnd: Offset) {
        cleanedEnds[name] = cleanedEnd
        isChanged = true
    }

    /// Writes the log starts at once; the ticket reports them.
    mutating func writeStarts(to disk: any Disk, _ directory: DataDirectory) -> FlushTicket {
        sequence += 1
        let ticket = FlushTicket(owner: Self.owner, generation: Self.startGeneration, sequence: sequence)
        disk.replace(
            ticket, path: "\(directory.path)/\(Self.logStartFile)\(ending)", contents: Self.text(logStartOffsets))
        return ticket
    }

    mutating func ticketForStartSnapshot() -> FlushTicket {
        sequence += 1
        return FlushTicket(owner: Self.owner, generation: Self.startSnapshotGeneration, sequence: sequence)
    }

    static func isStartSnapshot(_ ticket: FlushTicket) -> Bool {
        ticket.owner == owner && ticket.generation == startSnapshotGeneration
    }

    func knows(_ name: String) -> Bool {
        recoveryPoints[name] != nil || logStartOffsets[name] != nil || highWatermarks[name] != nil
            || cleanedEnds[name] != nil
    }

    mutating func forget(_ name: String) {
        recoveryPoints.removeValue(forKey: name)
        logStartOffsets.removeValue(forKey: name)
        highWatermarks.removeValue(forKey: name)
        cleanedEnds.removeValue(forKey: name)
        isChanged = true
    }

    mutating func write(to disk: any Disk, _ directory: DataDirectory) {
        guard isChanged else { return }
        isChanged = false
        for (name, contents) in files {
            sequence += 1
            disk.replace(
                FlushTicket(owner: Self.owner, generation: 0, sequence: sequence), path: "\(directory.path)/\(name)",
                contents: contents)
        }
    }

    mutating func writeNow(to disk: any Disk, _ directory: DataDirectory) throws(DiskError) {
        for (name, contents) in files { try disk.replaceNow(path: "\(directory.path)/\(name)", contents: contents) }
        isChanged = false
    }

    private var files: [(String, ByteBuffer)] {
        [
            (Self.recoveryPointFile + ending, Self.text(recoveryPoints)),
            (Self.logStartFile + ending, Self.text(logStartOffsets)),
            (Self.highWatermarkFile + ending, Self.text(highWatermarks)),
        ] + (hasCleaned ? [(Self.cleanerFile + ending, Self.text(cleanedEnds))] : [])
    }

    /// No topic can be called so: to Kafka's readers one more partition that is not here.
    private static let checksumTopic = ":crc32c"

    /// Version, count, then `topic partition offset` a line; the last one holds the checksum of all lines before it.
    static func text(_ offsets: SortedMap<String, Offset>) -> ByteBuffer {
        var text = "0\n\(offsets.count + 1)\n"
        for (name, offset) in offsets {
            guard let dash = name.lastIndex(of: "-") else { continue }
            text += "\(name[..<dash]) \(name[name.index(after: dash)...]) \(offset)\n"
        }
        return ByteBuffer(string: "\(text)\(checksumTopic) 0 \(TextChecksum.of(text))\n")
    }

    /// Nil for a file that is there and is not what was written.
    static func read(_ path: String, _ disk: any Disk) -> SortedMap<String, Offset>? {
        do throws(DiskError) { return parse(try DataDirectory.readText(path, on: disk)) } catch {
            if case .notFound = error { return SortedMap() }
            return nil
        }
    }

    static func refusal(of directory: DataDirectory) -> BootError {
        .refused(
            "\(directory.path)/\(logStartFile) is damaged: where the logs begin is not known; move it away, and each "
                + "begins where its first segment does, with what was deleted of that")
    }

    /// Nil for what is not what was written. A Martlet that knew no checksums took their line for a partition's, sorts
    /// it among the others and writes its number without zeros in front: such a file is as good as one without.
    static func parse(_ text: String) -> SortedMap<String, Offset>? {
        let lines = text.split(separator: "\n")
        guard lines.count >= 2, lines[0] == "0", Int(lines[1]) == lines.count - 2 else { return nil }
        let mark = "\(checksumTopic) 0 "
        if let last = lines.last, last.hasPrefix(mark), last.utf8.count == mark.utf8.count + 10,
            !TextChecksum.holds(text, after: mark, endingIn: "\n")
        {
            return nil
        }
        var offsets = SortedMap<String, Offset>()
        for line in lines.dropFirst(2) where !line.hasPrefix("\(checksumTopic) ") {
            let parts = line.split(separator: " ")
            guard parts.count == 3, let offset = Offset(parts[2]), offset >= 0 else { return nil }
            offsets["\(parts[0])-\(parts[1])"] = offset
        }
        return offsets
    }
}
