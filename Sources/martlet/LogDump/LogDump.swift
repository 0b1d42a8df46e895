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
    private(set) var fileCount = 0
    /// The segment that was walked last, for the indexes that stand beside it.
    private var walked: (log: String, places: SegmentPlaces)?

    init(_ options: LogDumpOptions) { self.options = options }

    /// A file, a partition's directory, or a directory of such.
    /// - Throws: `CommandFailure` for what cannot be read, `OutputClosed`.
    func dump(_ path: String, depth: Int = 0) throws {
        guard let names = directoryNames(path) else { return try dumpFile(path) }
        let known = names.filter { kind(of: $0) != nil }
        for name in known { try dumpFile(path + "/" + name) }
        // A data directory, a partition's directory in it; deeper lies nothing, and a link may lead in circles.
        let inner = depth == 0 ? names.filter { directoryNames(path + "/" + $0) != nil } : []
        for name in inner { try dump(path + "/" + name, depth: 1) }
        guard !known.isEmpty || !inner.isEmpty || depth > 0 else {
            throw CommandFailure("\(path) holds no log: name a segment, or the directory of a partition")
        }
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
        if TextFile.names.contains(name) { return .text }
        // A snapshot of the metadata counts its records from 0.
        if name.hasSuffix(".checkpoint") { return .batches(base: 0) }
        return nil
    }

    private func dumpFile(_ path: String) throws {
        let name = String(path[(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)...])
        let file = try FileBytes(path)
        fileCount += 1
        let before = problemCount
        switch kind(of: name) {
        case .batches(let base): try dumpBatches(file, base: base)
        case .index(let base, let isTime): try dumpIndex(file, base: base, isTime: isTime)
        case .text: try dumpText(file, name: name)
        // A copy under another name: a segment most likely, whose first batch says where it begins.
        case nil: try dumpBatches(file, base: nil)
        }
        if options.verify, options.json {
            try line(.object(["type": "file".json, "file": path.json, "problems": (problemCount - before).json]))
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
            ? "a torn tail of \(counted(Int(clamping: stretch.sizeBytes), "byte")): \(stretch.reason); what was never "
                + "acknowledged is cut off at the next start"
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
        for (entry, problem) in index.disorder { try say(problem, in: file, at: entry.filePosition) }
        guard let places = try places(beside: file.path) else { return }
        for entry in index.entries {
            if let problem = entry.problem(among: places) { try say(problem, in: file, at: entry.filePosition) }
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
        if options.json {
            try line(
                .object([
                    "type": "problem".json, "file": file.path.json, "position": position.json,
                    "problem": problem.json, "tornTail": isTornTail.json,
                ]))
        } else {
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
