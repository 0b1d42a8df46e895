// Opening a log: what is there, what of it may be believed, and what was torn by a crash.

import Model
import NIOCore
import Records

/// What `LogOpening` hands to the log.
struct OpenedLog {
    var segments: [Segment] = []
    var startOffset: Offset = 0
    var epochs = EpochHistory()
    var savedEpochs: EpochHistory?
    var recovery = Recovery()
    /// Names that are new and not yet behind a barrier.
    var dirtyDirectories: [String] = []
    /// Of what was gone through.
    var holdsEmptyBatches = false
}

struct LogOpening {
    let disk: any Disk
    let directory: String
    let settings: LogSettings
    let recoveryPoint: Offset
    let wallMs: Int64

    private var opened = OpenedLog()
    /// Where checking batch by batch began: headers from here on were all seen.
    private var scanStart = Boundary(position: 0, offset: 0)
    private var scannedEpochs = EpochHistory()
    private var changedFiles: [Segment] = []
    private var hasChangedNames = false
    /// Base offsets of segments that have index files.
    private var indexed: [Offset] = []

    init(disk: any Disk, directory: String, settings: LogSettings, recoveryPoint: Offset, wallMs: Int64) {
        self.disk = disk
        self.directory = directory
        self.settings = settings
        self.recoveryPoint = recoveryPoint
        self.wallMs = wallMs
    }

    mutating func open(startOffset: Offset?) throws(LogError) -> OpenedLog {
        do throws(LogError) {
            return try recover(startOffset: startOffset)
        } catch {
            // It is tried again where the disk is only full.
            for segment in opened.segments { segment.close() }
            throw error
        }
    }

    private mutating func recover(startOffset: Offset?) throws(LogError) -> OpenedLog {
        let (disk, directory) = (disk, directory)
        var names = try onDisk { () throws(DiskError) in try disk.list(directory) }
        if try SwapCompletion(disk: disk, directory: directory).run(names) {
            hasChangedNames = true
            names = try onDisk { () throws(DiskError) in try disk.list(directory) }
        }
        try openSegments(names)
        if opened.segments.isEmpty { return try begin(at: startOffset ?? 0) }
        try dropSegments(below: startOffset ?? 0)
        let first = opened.segments[0].baseOffset
        opened.startOffset = max(first, startOffset ?? first)
        if let startOffset, startOffset < first { opened.recovery.missingStart = startOffset..<first }
        let firstScanned = try checkClosedSegments()
        try scan(from: firstScanned)
        try finish()
        return opened
    }

    // MARK: What is there

    private mutating func openSegments(_ names: [String]) throws(LogError) {
        var bases: [Offset] = []
        for name in names {
            if let base = SegmentFiles.baseOffset(of: name, suffix: ".log") { bases.append(base) }
        }
        let disk = disk
        for name in names {
            // What a removal, a roll or a cleaning left behind: indexes without a log, and files that were on their way
            // out or not yet in.
            let isOrphan = [".index", ".timeindex"].contains { suffix in
                SegmentFiles.baseOffset(of: name, suffix: suffix).map { !bases.contains($0) } ?? false
            }
            if let base = SegmentFiles.baseOffset(of: name, suffix: ".index") { indexed.append(base) }
            if let base = SegmentFiles.baseOffset(of: name, suffix: ".timeindex") { indexed.append(base) }
            guard isOrphan || name.hasSuffix(".deleted") || name.hasSuffix(".cleaned") else { continue }
            let path = directory + "/" + name
            try onDisk { () throws(DiskError) in try disk.remove(path) }
            hasChangedNames = true
        }
        for base in bases.sorted() {
            let segment = try Segment(
                disk: disk, directory: directory, baseOffset: base, create: false, wallMs: wallMs)
            opened.segments.append(segment)
        }
        for index in opened.segments.indices.dropLast() {
            opened.segments[index].nextOffset = opened.segments[index + 1].baseOffset
        }
    }

    /// A new log, or one of which nothing is left.
    private mutating func begin(at startOffset: Offset) throws(LogError) -> OpenedLog {
        let (disk, directory) = (disk, directory)
        try onDisk { () throws(DiskError) in try disk.createDirectory(directory) }
        let segment = try Segment(
            disk: disk, directory: directory, baseOffset: startOffset, create: true, wallMs: wallMs)
        opened.segments = [segment]
        opened.startOffset = startOffset
        opened.dirtyDirectories = [directory] + (SegmentFiles.parent(of: directory).map { [$0] } ?? [])
        if recoveryPoint > startOffset {
            addDamage(startOffset..<recoveryPoint, segment.path, "no segment is left")
            opened.recovery.isEndLost = true
        }
        return opened
    }

    private mutating func dropSegments(below startOffset: Offset) throws(LogError) {
        while opened.segments.count > 1, opened.segments[1].baseOffset <= startOffset {
            try opened.segments[0].remove()
            opened.segments.removeFirst()
            hasChangedNames = true
        }
    }

    // MARK: Closed segments below the recovery point

    /// Looks at the tail of each segment that lies whole below the recovery point. Answers the index of the first one
    /// that must be checked batch by batch.
    private mutating func checkClosedSegments() throws(LogError) -> Int {
        var index = 0
        while index + 1 < opened.segments.count, opened.segments[index + 1].baseOffset <= recoveryPoint {
            let segment = opened.segments[index]
            let end = tailEnd(segment)
            let isWhole = end.offset == segment.nextOffset && end.position == segment.sizeBytes
            if !isWhole { try cutOrDoubt(segment, before: opened.segments[index + 1]) }
            index += 1
        }
        return index
    }

    /// Cuts off what a closed segment holds behind its successor's first offset: a truncation and a roll at its end
    /// whose cut was lost with the power. Whole batches go only where the successor holds what came after them, or they
    /// lie above the recovery point: a file that got into the directory by mistake must not take promised batches of
    /// its neighbour along. Anything else is damage.
    private mutating func cutOrDoubt(_ segment: Segment, before successor: Segment) throws(LogError) {
        let (edge, end) = soundEnds(segment)
        var isSurplus = edge.offset == segment.nextOffset
        if isSurplus, end.offset > edge.offset, edge.offset < recoveryPoint {
            var scan = BatchScan(
                successor, fileBytes: successor.sizeBytes, from: Boundary(position: 0, offset: successor.baseOffset),
                lastEpoch: -1)
            isSurplus = try scan.next() != nil
        }
        guard isSurplus else {
            let upper = max(segment.nextOffset, end.offset, edge.offset + 1)
            addDamage(edge.offset..<upper, segment.path, "its sound batches end at \(end.offset)")
            segment.nextOffset = edge.offset
            segment.sizeBytes = edge.position
            return
        }
        let (disk, file) = (disk, segment.file)
        try onDisk { () throws(DiskError) in try disk.truncate(file, to: edge.position) }
        opened.recovery.tornBytes += segment.sizeBytes - edge.position
        segment.sizeBytes = edge.position
        segment.rebuildIndexes(intervalBytes: settings.indexIntervalBytes)
        segment.unloadIndexes()
        changedFiles.append(segment)
    }

    /// Where the last batch ends that lies whole below the successor's first offset, and where the last one of all. All
    /// of them are sound: a flipped length or count in a header may lead anywhere, to the successor's offset too.
    private func soundEnds(_ segment: Segment) -> (edge: Boundary, end: Boundary) {
        var end = Boundary(position: 0, offset: segment.baseOffset)
        var edge = end
        var scan = BatchScan(segment, fileBytes: segment.sizeBytes, from: end, lastEpoch: -1)
        while let header = try? scan.next() {
            end = Boundary(position: end.position + Int64(header.sizeBytes), offset: header.nextOffset)
            if end.offset <= segment.nextOffset { edge = end }
        }
        return (edge, end)
    }

    /// Where the batches of a closed segment end, by a short walk from its last index entry.
    private mutating func tailEnd(_ segment: Segment) -> Boundary {
        if let entry = segment.lastSavedEntry() {
            var walk = HeaderWalk(segment, from: Int64(entry.position), expecting: nil)
            if let found = try? walk.next(),
                found.header.lastOffset - segment.baseOffset == Offset(entry.relativeOffset)
            {
                while (try? walk.next()) != nil {}
                let end = Boundary(position: walk.position, offset: walk.expectedOffset ?? segment.baseOffset)
                if end.offset == segment.nextOffset, end.position == segment.sizeBytes { return end }
            }
        }
        // The entry was no help: the whole segment is walked, and its indexes are made again.
        segment.rebuildIndexes(intervalBytes: settings.indexIntervalBytes)
        opened.recovery.indexesRebuilt += 1
        var walk = HeaderWalk(segment, from: 0, expecting: segment.baseOffset)
        while (try? walk.next()) != nil {}
        segment.unloadIndexes()
        return Boundary(position: walk.position, offset: walk.expectedOffset ?? segment.baseOffset)
    }

    // MARK: From the recovery point on

    private mutating func scan(from firstIndex: Int) throws(LogError) {
        var index = firstIndex
        var lastEpoch: LeaderEpoch = -1
        while index < opened.segments.count {
            let segment = opened.segments[index]
            let previousEnd = index > firstIndex ? opened.segments[index - 1].nextOffset : nil
            if let previousEnd, previousEnd != segment.baseOffset {
                // A name or bytes between them are missing.
                let isKnown = opened.recovery.damages.last.map { $0.offsets.contains(previousEnd) } ?? false
                guard previousEnd < recoveryPoint || isKnown, segment.baseOffset > previousEnd else {
                    return try removeSegments(from: index)
                }
                if !isKnown {
                    addDamage(previousEnd..<segment.baseOffset, segment.path, "a segment before it is missing")
                }
            }
            let fileBytes = segment.sizeBytes
            var start = scanStart(in: segment, isFirst: index == firstIndex)
            var scan = BatchScan(
                segment, fileBytes: fileBytes, from: start, lastEpoch: lastEpoch, bug: settings.plantedBug)
            var sound = try scan.next()
            if sound == nil, start.position > 0 {
                // Only the index vouches for what lies before it, and it led to a batch that is not sound: where the
                // damage begins is seen from the segment's first batch on.
                start = Boundary(position: 0, offset: segment.baseOffset)
                scan = BatchScan(
                    segment, fileBytes: fileBytes, from: start, lastEpoch: lastEpoch, bug: settings.plantedBug)
                sound = try scan.next()
            }
            if index == firstIndex { scanStart = start }
            segment.startIndexes(keepingBelow: start)
            segment.indexesProven = start.position == 0
            segment.sizeBytes = start.position
            segment.nextOffset = start.offset
            var promisedBytes = start.position
            while let header = sound {
                segment.note(header, indexIntervalBytes: settings.indexIntervalBytes)
                if header.nextOffset <= recoveryPoint { promisedBytes = segment.sizeBytes }
                scannedEpochs.assign(header.partitionLeaderEpoch, startOffset: header.baseOffset)
                if header.recordsCount == 0 { opened.holdsEmptyBatches = true }
                sound = try scan.next()
            }
            lastEpoch = scan.lastEpoch
            segment.noteProven(start.position..<Int64.max)
            opened.recovery.segmentsScanned += 1
            // Below the recovery point a barrier has reported it already; of thousands of logs that stand still each
            // would be written once more.
            try writeAgain(segment, from: promisedBytes)
            // Also where nothing lies above the recovery point: a cut made just before a kill may have no barrier
            // behind it.
            changedFiles.append(segment)
            if segment.sizeBytes < fileBytes {
                let isEnd =
                    scan.metUnreadable
                    ? doubtRest(of: segment, at: index) : try cut(segment, at: index, fileBytes: fileBytes)
                if isEnd { return }
            }
            if index + 1 < opened.segments.count { segment.seal() }
            index += 1
        }
        let end = opened.segments[opened.segments.count - 1].nextOffset
        let isKnown = opened.recovery.damages.last.map { $0.offsets.upperBound >= recoveryPoint } ?? false
        if end < recoveryPoint, !isKnown, settings.plantedBug != .damageCutOff {
            addDamage(end..<recoveryPoint, opened.segments[opened.segments.count - 1].path, "the log ends at \(end)")
            opened.recovery.isEndLost = true
        }
    }

    /// A failed fsync leaves pages readable, clean and off the medium, and the next fsync succeeds over them
    /// (reliability.md §4 rule 8). So what recovery read above the recovery point, and believes from now on, is written
    /// once more as it is: then the barrier that ends the recovery covers it.
    private func writeAgain(_ segment: Segment, from start: Int64) throws(LogError) {
        let (disk, file) = (disk, segment.file)
        var position = start
        while position < segment.sizeBytes {
            let at = position
            let length = Int(min(Self.copiedBytesMax, segment.sizeBytes - at))
            try onDisk { () throws(DiskError) in
                try disk.write(ByteBuffer(), try disk.read(file, at: at, length: length), to: file, at: at)
            }
            position += Int64(length)
        }
    }

    private static let copiedBytesMax: Int64 = 1 << 20

    /// What follows on the last good batch of `segment` does not check out. Answers whether the log ends here.
    private mutating func cut(_ segment: Segment, at index: Int, fileBytes: Int64) throws(LogError) -> Bool {
        let end = segment.end
        // Mutant: what was acknowledged is cut off like a torn tail (S5).
        if end.offset < recoveryPoint, settings.plantedBug != .damageCutOff {
            return doubtRest(of: segment, at: index)
        }
        // What goes on from damage may be more of it, and not what a crash tore.
        if end.position == 0, opened.recovery.damages.last?.offsets.upperBound == end.offset {
            opened.recovery.tornBehindDamage = opened.recovery.tornBehindDamage ?? end.offset
            return doubtRest(of: segment, at: index)
        }
        let (disk, file) = (disk, segment.file)
        try onDisk { () throws(DiskError) in try disk.truncate(file, to: end.position) }
        opened.recovery.tornBytes += fileBytes - end.position
        try removeSegments(from: index + 1)
        return true
    }

    /// What follows on the last good batch of `segment` is damage: it lies below the recovery point, or the disk does
    /// not give it, which no torn tail explains. Answers whether the log ends here.
    private mutating func doubtRest(of segment: Segment, at index: Int) -> Bool {
        let end = segment.end
        let hasNext = index + 1 < opened.segments.count
        let next = hasNext ? opened.segments[index + 1].baseOffset : recoveryPoint
        addDamage(end.offset..<max(next, end.offset + 1), segment.path, "no sound batch at position \(end.position)")
        if !hasNext { opened.recovery.isEndLost = true }
        return !hasNext
    }

    private mutating func removeSegments(from index: Int) throws(LogError) {
        while opened.segments.count > index {
            let last = opened.segments[opened.segments.count - 1]
            try last.remove()
            opened.segments.removeLast()
            changedFiles.removeAll { $0 === last }
            opened.recovery.segmentsRemoved += 1
            hasChangedNames = true
        }
    }

    /// The batch at which checking begins: an indexed one shortly below the recovery point, or the first of the
    /// segment.
    private mutating func scanStart(in segment: Segment, isFirst: Bool) -> Boundary {
        let whole = Boundary(position: 0, offset: segment.baseOffset)
        guard isFirst, recoveryPoint > segment.baseOffset else { return whole }
        // Nothing is known of its end yet; the index may speak of any offset.
        segment.nextOffset = segment.baseOffset + Offset(Int32.max)
        segment.loadIndexes(intervalBytes: settings.indexIntervalBytes)
        defer { segment.nextOffset = segment.baseOffset }
        guard let entry = segment.offsetIndex.floor(relativeOffset: recoveryPoint - 1 - segment.baseOffset) else {
            return whole
        }
        var walk = HeaderWalk(segment, from: Int64(entry.position), expecting: nil)
        guard let found = try? walk.next(), found.header.lastOffset - segment.baseOffset == Offset(entry.relativeOffset)
        else {
            opened.recovery.indexesRebuilt += 1
            return whole
        }
        return Boundary(position: found.position, offset: found.header.baseOffset)
    }

    /// A log without a record, from 0 on, that this opening left as it was. Like a new one it says nothing that a loss
    /// of power could make untrue, and the barrier of its first append covers the file, its name, and a cut that was
    /// made before a kill.
    private var claimsNothing: Bool {
        opened.segments.count == 1 && opened.segments[0].end == Boundary(position: 0, offset: 0)
            && opened.startOffset == 0 && recoveryPoint == 0 && !hasChangedNames && opened.recovery.tornBytes == 0
            && opened.recovery.damages.isEmpty
    }

    private mutating func addDamage(_ offsets: Range<Offset>, _ file: String, _ reason: String) {
        opened.recovery.damages.append(Damage(offsets: offsets, file: file, reason: reason))
    }

    // MARK: The end

    private mutating func finish() throws(LogError) {
        let end = opened.segments[opened.segments.count - 1].nextOffset
        if opened.startOffset > end, opened.recovery.damages.isEmpty {
            // Everything there was lies below the log start.
            try removeSegments(from: 0)
            let segment = try Segment(
                disk: disk, directory: directory, baseOffset: opened.startOffset, create: true, wallMs: wallMs)
            opened.segments = [segment]
            changedFiles = [segment]
        }
        let active = opened.segments[opened.segments.count - 1]
        _ = try? active.largestTimestamp(intervalBytes: settings.indexIntervalBytes)
        active.saveOpenedIndexes(filesExist: indexed.contains(active.baseOffset))
        let (disk, directory, files) = (disk, directory, changedFiles.map(\.file))
        // A killed process may have left even the directory's own name without a barrier.
        let directories = [directory] + (SegmentFiles.parent(of: directory).map { [$0] } ?? [])
        if claimsNothing {
            opened.dirtyDirectories = directories
        } else if !files.isEmpty || hasChangedNames {
            try onDisk { () throws(DiskError) in try disk.flushNow(files: files, directories: directories) }
        }
        var recall = EpochRecall(segments: opened.segments, startOffset: opened.startOffset, settings: settings)
        opened.savedEpochs = EpochCheckpoint.load(disk, directory: directory)
        opened.epochs = try recall.history(
            checkpoint: opened.savedEpochs, scanStart: scanStart.offset, scanned: scannedEpochs.entries)
        opened.recovery.epochsRebuilt = opened.epochs != opened.savedEpochs
        for segment in opened.segments.dropLast() { segment.unloadIndexes() }
    }
}
