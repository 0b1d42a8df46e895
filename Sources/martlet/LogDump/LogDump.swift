// Shows files of a data directory, or checks them: segments, indexes, checkpoints, one by one or a directory of them.

import Glibc
import Model
import NIOCore
import Records
import Storage

struct LogDumpOptions {
    var json = false
    var records = false
    var verify = false
    var metadata = false
    var compacted = false
}

final class LogDump {
    private let options: LogDumpOptions
    private var output = LineOutput()
    private(set) var problemCount = 0
    /// Of the problems: what a crash may leave behind, and the next start of the node takes away.
    private(set) var tornTailCount = 0
    /// Of the problems: entries of indexes, which are caches and written without barriers.
    private(set) var indexProblemCount = 0
    private(set) var fileCount = 0
    private var segmentCount = 0
    /// In the file that is looked at now.
    private var problemsInFile = 0
    /// The segment that was walked last, for the indexes that stand beside it.
    private var walked: (log: String, places: SegmentPlaces)?

    /// Lines about one file; noise in an index is a problem at every entry. JSON has them all.
    private static let problemLinesMax = 100
    /// A partition lies in a node's directory, and that in one of all nodes, a few levels down at most.
    private static let depthMax = 6

    init(_ options: LogDumpOptions) { self.options = options }

    /// A file, a partition's directory, a node's, or one of several nodes.
    /// - Throws: `CommandFailure` for what cannot be read and for a directory without logs; what writing throws.
    func dump(_ path: String) throws {
        guard let names = directoryNames(path) else { return try dumpFile(path) }
        let (files, segments) = (fileCount, segmentCount)
        try dump(directory: path, names, depth: 0)
        // To verify nothing must not look like having found nothing wrong.
        guard fileCount > files, segmentCount > segments || !options.verify else {
            throw CommandFailure("\(path) holds no log: name a segment, or the directory of a partition or node")
        }
    }

    private func dump(directory: String, _ names: [String], depth: Int) throws {
        for name in names where kind(of: name) != nil { try dumpFile(directory + "/" + name) }
        guard depth < Self.depthMax else { return }
        for name in names {
            let path = directory + "/" + name
            // A link may lead in circles.
            guard !isLink(path), let inner = directoryNames(path) else { continue }
            try dump(directory: path, inner, depth: depth + 1)
        }
    }

    private func isLink(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFLNK
    }

    func flush() throws { try output.flush() }

    func finish() throws {
        if options.verify, !options.json {
            let files = counted(fileCount, "file")
            output.add(
                problemCount == 0
                    ? Terminal.output.show("\(files), nothing wrong", as: .good)
                    : Terminal.output.show("\(files), \(counted(problemCount, "problem"))", as: .bad))
        }
        try output.flush()
    }

    // MARK: Files by name

    private enum Kind {
        case batches(base: Offset?)
        case index(base: Offset, isTime: Bool)
        case text
    }

    private func kind(of name: String) -> Kind? {
        if let base = SegmentFiles.baseOffset(of: name, suffix: ".log") { return .batches(base: base) }
        if let base = SegmentFiles.baseOffset(of: name, suffix: ".index") { return .index(base: base, isTime: false) }
        if let base = SegmentFiles.baseOffset(of: name, suffix: ".timeindex") {
            return .index(base: base, isTime: true)
        }
        if TextFile.names.contains(TextFile.plainName(of: name)) { return .text }
        // A snapshot of the metadata counts its records from 0.
        if name.hasSuffix(".checkpoint") { return .batches(base: 0) }
        return nil
    }

    private func dumpFile(_ path: String) throws {
        let name = String(path[(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)...])
        let file = try FileBytes(path)
        fileCount += 1
        problemsInFile = 0
        switch kind(of: name) {
        case .batches(let base): try dumpBatches(file, base: base)
        case .index(let base, let isTime): try dumpIndex(file, base: base, isTime: isTime)
        case .text: try dumpText(file, name: name)
        // A copy under another name: a segment most likely, whose first batch says where it begins.
        case nil: try dumpBatches(file, base: nil)
        }
        if options.verify, options.json {
            try line(.object(["type": "file".json, "file": path.json, "problems": problemsInFile.json]))
        }
        if problemsInFile > Self.problemLinesMax {
            try text("\(path): … and \(counted(problemsInFile - Self.problemLinesMax, "problem")) more")
        }
    }

    private func directoryNames(_ path: String) -> [String]? {
        guard let directory = opendir(path) else { return nil }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    // MARK: Batches

    private func dumpBatches(_ file: FileBytes, base: Offset?) throws {
        segmentCount += 1
        let isMetadata =
            options.metadata || file.path.hasSuffix(".checkpoint") || file.path.contains(MetadataTopic.name)
        try heading(file.path, "\(file.sizeBytes) bytes")
        if !options.verify { try text(Terminal.output.show(DumpedBatch.heading, as: .faint)) }
        var walk = SegmentWalk(file)
        var checks = BatchChecks(segmentBase: base, isCompacted: options.compacted)
        var places = SegmentPlaces()
        var recordCount = 0
        while let part = walk.next() {
            switch part {
            case .batch(let batch):
                places.batches.append(
                    BatchPlace(
                        position: batch.position, baseOffset: batch.header.baseOffset,
                        lastOffset: batch.header.lastOffset, maxTimestamp: batch.header.maxTimestamp))
                recordCount += max(0, Int(batch.header.recordsCount))
                if !options.verify { try show(batch, isMetadata: isMetadata) }
                for problem in options.verify ? checks.problems(of: batch) : [] {
                    try say(problem, in: file, at: batch.position)
                }
            case .stretch(let stretch):
                checks.lost()
                try say(stretch, in: file)
            }
        }
        places.sizeBytes = walk.position
        walked = (file.path, places)
        guard options.verify else { return }
        let range =
            places.batches.first.map { "offsets \($0.baseOffset) to \(places.batches.last?.lastOffset ?? -1)" }
            ?? "empty"
        try text("  \(counted(places.batches.count, "batch", "batches")), \(counted(recordCount, "record")), \(range)")
    }

    /// Pieces in as few lines as the terminal has room for.
    private func folded(_ pieces: [String], indent: String) -> [String] {
        var lines: [String] = []
        for piece in pieces {
            if let last = lines.last, last.count + 2 + piece.count <= Terminal.output.width ?? .max {
                lines[lines.count - 1] += "  " + piece
            } else {
                lines.append(indent + piece)
            }
        }
        return lines
    }

    private func show(_ batch: FoundBatch, isMetadata: Bool) throws {
        if options.json {
            try line(DumpedBatch.json(batch))
        } else {
            let (columns, rest) = DumpedBatch.text(batch)
            if Terminal.output.isTerminal {
                try text(batch.isCRCRight ? columns : Terminal.output.show(columns, as: .bad))
                for line in folded(rest, indent: "            ") { try text(line) }
            } else {
                try text(([columns] + rest).joined(separator: "  "))
            }
        }
        guard options.records else { return }
        do throws(BatchError) {
            for record in try decodeRecords(batch.bytes, maxDecompressedBytes: DumpedRecords.unpackedBytesMax) {
                show(record, isControl: batch.header.isControl, isMetadata: isMetadata)
            }
        } catch {
            try text("    the records cannot be read: \(error.message)")
        }
        try output.flushIfLarge()
    }

    private func show(_ record: Record, isControl: Bool, isMetadata: Bool) {
        if options.json {
            output.add(DumpedRecords.json(record, isControl: isControl, isMetadata: isMetadata).line)
        } else {
            let line = "    " + DumpedRecords.text(record, isControl: isControl, isMetadata: isMetadata)
            output.add(Terminal.output.width.map { line.cut(to: $0) } ?? line)
        }
    }

    private func say(_ stretch: Stretch, in file: FileBytes) throws {
        let sentence =
            stretch.isTornTail
            ? "a torn tail of \(counted(Int(clamping: stretch.sizeBytes), "byte")): \(stretch.reason); the node "
                + "cuts it off when it starts"
            : "\(counted(Int(clamping: stretch.sizeBytes), "byte")) that are no batch: \(stretch.reason)"
        try say(sentence, in: file, at: stretch.position, isTornTail: stretch.isTornTail)
    }

    // MARK: Indexes and text

    private func dumpIndex(_ file: FileBytes, base: Offset, isTime: Bool) throws {
        let index = try IndexFile(file, isTimeIndex: isTime, segmentBase: base)
        try heading(file.path, counted(index.entries.count, "entry", "entries"))
        if !options.verify {
            for entry in index.entries { try options.json ? line(entry.json) : text("  " + entry.text) }
        }
        if index.tornBytes > 0 {
            try say(
                "a torn tail of \(counted(Int(index.tornBytes), "byte")), less than an entry has", in: file,
                at: index.sizeBytes - index.tornBytes, isTornTail: true)
        }
        guard options.verify else { return }
        let before = problemCount
        defer { indexProblemCount += problemCount - before }
        for entry in index.entries where entry.isNoise {
            try say("\(index.entrySizeBytes) bytes that are no entry", in: file, at: entry.filePosition)
        }
        for (entry, problem) in index.disorder { try say(problem, in: file, at: entry.filePosition) }
        guard let places = try places(beside: file.path) else { return }
        for entry in index.entries {
            if !entry.isNoise, let problem = entry.problem(among: places) {
                try say(problem, in: file, at: entry.filePosition)
            }
        }
    }

    /// The batches of the log beside an index; nil without one.
    private func places(beside index: String) throws -> SegmentPlaces? {
        guard let dot = index.lastIndex(of: ".") else { return nil }
        let log = index[..<dot] + ".log"
        let file = access(String(log), R_OK) == 0 ? try FileBytes(String(log)) : nil
        guard let file else { return nil }
        // A node that runs may have appended to both since.
        if let walked, walked.log == file.path, walked.places.sizeBytes >= file.sizeBytes { return walked.places }
        var walk = SegmentWalk(file)
        var places = SegmentPlaces()
        while let part = walk.next() {
            guard case .batch(let batch) = part else { continue }
            places.batches.append(
                BatchPlace(
                    position: batch.position, baseOffset: batch.header.baseOffset,
                    lastOffset: batch.header.lastOffset, maxTimestamp: batch.header.maxTimestamp))
        }
        places.sizeBytes = walk.position
        return places
    }

    private func dumpText(_ file: FileBytes, name: String) throws {
        let content = try TextFile(file, name: name)
        try heading(file.path, "\(file.sizeBytes) bytes")
        if !options.verify {
            for entry in content.lines {
                try options.json ? line(.object(["type": "line".json, "text": entry.json])) : text("  " + entry)
            }
        }
        if let problem = content.problem { try say(problem, in: file, at: 0) }
    }

    // MARK: Speaking

    private func heading(_ path: String, _ size: String) throws {
        if options.json {
            if !options.verify { try line(.object(["type": "file".json, "file": path.json])) }
        } else {
            try text(Terminal.output.show(path, as: .bold) + "  " + size)
        }
    }

    private func say(_ problem: String, in file: FileBytes, at position: Int64, isTornTail: Bool = false) throws {
        problemCount += 1
        problemsInFile += 1
        if isTornTail { tornTailCount += 1 }
        if options.json {
            try line(
                .object([
                    "type": "problem".json, "file": file.path.json, "position": position.json,
                    "problem": problem.json, "tornTail": isTornTail.json,
                ]))
        } else if problemsInFile <= Self.problemLinesMax {
            try text(Terminal.output.show("\(file.path): position \(position): \(problem)", as: .bad))
        }
    }

    private func text(_ line: String) throws {
        guard !options.json else { return }
        output.add(line)
        try output.flushIfLarge()
    }

    private func line(_ object: Json) throws {
        output.add(object.line)
        try output.flushIfLarge()
    }
}
