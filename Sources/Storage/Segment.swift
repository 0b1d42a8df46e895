// One segment: a file of batches, and two sparse indexes that say where to start looking in it.

import Model
import NIOCore
import Records

/// The largest timestamp of a run of batches, and the last offset of the first batch that has it.
struct LargestTimestamp: Equatable {
    var timestamp: Int64
    var offset: Offset
}

final class Segment {
    let disk: any Disk
    let directory: String
    let baseOffset: Offset
    let file: FileHandle
    /// Readable bytes: whole batches, each following on from the one before. A damaged file may be longer.
    var sizeBytes: Int64
    var nextOffset: Offset
    /// The wall clock when the segment was made or opened; its age where its records have no timestamps.
    var createdMs: Int64
    /// What the log file is called behind its base offset; another only while a cleaning is swapped in.
    var fileSuffix: String

    var offsetIndex = OffsetIndex()
    var timeIndex = TimeIndex()
    var indexesLoaded: Bool
    /// The indexes were made from the batches themselves since the segment was opened, so that a batch that does not
    /// fit is damage.
    var indexesProven: Bool
    /// The index files hold more, or other, entries than `savedCount` says.
    private var indexFilesStale = false
    private var indexFile: FileHandle?
    private var timeIndexFile: FileHandle?
    private var bytesSinceIndexEntry = 0
    private var isClosed = false

    /// Nil while it has not been needed.
    var largest: LargestTimestamp?
    /// The first batch's largest timestamp, −1 without one; nil while it has not been needed.
    var firstTimestamp: Int64?
    /// The last batches appended, so that reads near the end ask the disk nothing. Rising.
    private var recent: [Boundary] = []

    /// The bytes from here to the end, and the stretch beside them, were seen to be sound in this life of the node.
    private var provenFrom: Int64
    private var provenStretch: Range<Int64> = 0..<0

    static let recentMax = 64
    /// Brought into memory behind what a reader waits for.
    static let broughtAheadBytes: Int64 = 2 << 20
    static let unsavedEntriesMax = 64

    var path: String { SegmentFiles.path(directory, baseOffset, fileSuffix) }
    var end: Boundary { Boundary(position: sizeBytes, offset: nextOffset) }

    /// Takes over the file as it is; `sizeBytes` and `nextOffset` are for the caller to set.
    init(
        disk: any Disk, directory: String, baseOffset: Offset, create: Bool, wallMs: Int64,
        fileSuffix: String = SegmentFiles.log
    ) throws(LogError) {
        self.fileSuffix = fileSuffix
        self.disk = disk
        self.directory = directory
        self.baseOffset = baseOffset
        let path = SegmentFiles.path(directory, baseOffset, fileSuffix)
        file = try onDisk { () throws(DiskError) in try disk.open(path, create: create) }
        let file = file
        do throws(DiskError) {
            if create { try disk.truncate(file, to: 0) }
            sizeBytes = try disk.sizeBytes(of: file)
        } catch {
            // It is tried again: no attempt may leave a handle behind, and none an empty segment, at which the next
            // opening would cut off what the log went on to hold without it.
            disk.close(file)
            if create, (try? disk.remove(path)) == nil { throw .fenced }
            throw .disk(error)
        }
        nextOffset = baseOffset
        provenFrom = create ? 0 : .max
        createdMs = wallMs
        indexesLoaded = create
        indexesProven = create
        indexFilesStale = create
        if create { (largest, firstTimestamp) = (LargestTimestamp(timestamp: -1, offset: baseOffset), nil) }
    }

    // MARK: Growing

    /// Takes note of a batch that now stands at the end.
    func note(_ header: BatchHeader, indexIntervalBytes: Int) {
        let position = sizeBytes
        index(header, at: position, intervalBytes: indexIntervalBytes)
        if sizeBytes == 0 { firstTimestamp = header.maxTimestamp }
        sizeBytes += Int64(header.sizeBytes)
        nextOffset = header.nextOffset
        if recent.count == Self.recentMax { recent.removeFirst(Self.recentMax / 2) }
        recent.append(Boundary(position: position, offset: header.baseOffset))
        if offsetIndex.entries.count - offsetIndex.savedCount >= Self.unsavedEntriesMax { saveIndexes() }
    }

    /// Kafka's rule: an entry for the first batch that begins more than the interval behind the last indexed one.
    private func index(_ header: BatchHeader, at position: Int64, intervalBytes: Int) {
        if let known = largest, header.maxTimestamp > known.timestamp {
            largest = LargestTimestamp(timestamp: header.maxTimestamp, offset: header.lastOffset)
        }
        if bytesSinceIndexEntry > intervalBytes, let relative = Int32(exactly: header.lastOffset - baseOffset),
            let position = Int32(exactly: position)
        {
            offsetIndex.append(relativeOffset: relative, position: position)
            noteLargestInTimeIndex()
            bytesSinceIndexEntry = 0
        }
        bytesSinceIndexEntry += header.sizeBytes
    }

    private func noteLargestInTimeIndex() {
        guard let largest, let relative = Int32(exactly: largest.offset - baseOffset) else { return }
        timeIndex.appendIfLarger(timestamp: largest.timestamp, relativeOffset: relative)
    }

    /// The segment takes no more batches: its time index gets the last word.
    func seal() {
        noteLargestInTimeIndex()
        saveIndexes()
        recent = []
    }

    // MARK: What is known to be sound

    func isProven(_ positions: Range<Int64>) -> Bool {
        positions.lowerBound >= provenFrom
            || (provenStretch.lowerBound <= positions.lowerBound && provenStretch.upperBound >= positions.upperBound)
    }

    /// Grows the stretch where readers follow each other through the file, and begins another one where they do not.
    func noteProven(_ positions: Range<Int64>) {
        if positions.upperBound == .max {
            provenFrom = min(provenFrom, positions.lowerBound)
        } else if positions.lowerBound <= provenStretch.upperBound, positions.upperBound >= provenStretch.lowerBound {
            let start = min(provenStretch.lowerBound, positions.lowerBound)
            provenStretch = start..<max(provenStretch.upperBound, positions.upperBound)
        } else {
            provenStretch = positions
        }
        if provenStretch.upperBound >= provenFrom { provenFrom = min(provenFrom, provenStretch.lowerBound) }
    }

    func forgetProof() { (provenFrom, provenStretch) = (.max, 0..<0) }

    // MARK: Looking up

    private func recentBatch(holding offset: Offset) -> Boundary? {
        guard let first = recent.first, first.offset <= offset else { return nil }
        var index = recent.count - 1
        while recent[index].offset > offset { index -= 1 }
        return recent[index]
    }

    /// The batch that holds `offset`, which lies in this segment.
    func locate(_ offset: Offset, intervalBytes: Int) throws(LogError) -> Boundary {
        if offset >= nextOffset { return end }
        if let found = recentBatch(holding: offset) { return found }
        return try searching(intervalBytes) { () throws(LogError) in
            let entry = offsetIndex.floor(relativeOffset: offset - baseOffset)
            var walk = HeaderWalk(self, from: Int64(entry?.position ?? 0), expecting: entry == nil ? baseOffset : nil)
            try check(entry, against: walk)
            // The batch that begins there need not be sound for what lies before it to be read.
            while walk.expectedOffset != offset, let (header, position) = try walk.next() {
                if header.lastOffset >= offset { return Boundary(position: position, offset: header.baseOffset) }
            }
            if walk.expectedOffset == offset { return Boundary(position: walk.position, offset: offset) }
            throw .damaged(
                "\(path): ends at \(walk.expectedOffset ?? baseOffset)", from: walk.expectedOffset ?? baseOffset)
        }
    }

    /// What a look-up of `offset`, and a read of up to `maxBytes` from there, would wait for the medium to give; or
    /// how much can be read without.
    func coldLook(
        from offset: Offset, maxBytes: Int, intervalBytes: Int, trustedTailBytes: Int64, asksDisk: Bool
    ) -> ColdLook {
        let start: Int64
        if let found = recentBatch(holding: offset) {
            start = found.position
        } else {
            if !indexesLoaded {
                guard asksDisk else { return .cold([]) }
                let cold = [".index", ".timeindex"].compactMap(coldIndex)
                guard cold.isEmpty else { return .cold(cold) }
                loadIndexes(intervalBytes: intervalBytes)
            }
            start = Int64(offsetIndex.floor(relativeOffset: offset - baseOffset)?.position ?? 0)
        }
        if start >= provenFrom, sizeBytes - start <= trustedTailBytes { return .readable(bytes: maxBytes) }
        guard asksDisk else { return .cold([]) }
        // The batch itself begins a little behind, and what checks it reads in windows.
        func needed(_ bytes: Int) -> Int64 { min(sizeBytes - start, Int64(bytes) + FileWindow.windowBytes) }
        func isCached(_ bytes: Int) -> Bool { disk.isCached(file, at: start, length: Int(needed(bytes))) }
        guard sizeBytes > start, !isCached(maxBytes) else { return .readable(bytes: maxBytes) }
        let piece = min(maxBytes, Limits.broughtInBytesMax)
        if piece < maxBytes, isCached(piece) { return .readable(bytes: piece) }
        // Who reads on finds the next of it there.
        let length = min(needed(piece) + Self.broughtAheadBytes, sizeBytes - start)
        return .cold([FileRange(path: path, position: start, length: Int(length))])
    }

    private func coldIndex(_ suffix: String) -> FileRange? {
        let path = SegmentFiles.path(directory, baseOffset, suffix)
        guard let file = try? disk.open(path, create: false) else { return nil }
        defer { disk.close(file) }
        guard let size = try? disk.sizeBytes(of: file), size > 0, size <= Int64(Int32.max),
            !disk.isCached(file, at: 0, length: Int(size))
        else { return nil }
        return FileRange(path: path, position: 0, length: Int(size))
    }

    /// The last place at or before `position` where a batch begins or the segment ends.
    func boundary(atOrBefore position: Int64, intervalBytes: Int) throws(LogError) -> Boundary {
        if position >= sizeBytes { return end }
        if let found = recent.last(where: { $0.position <= position }) { return found }
        return try searching(intervalBytes) { () throws(LogError) in
            let entry = offsetIndex.floor(position: position)
            var walk = HeaderWalk(self, from: Int64(entry?.position ?? 0), expecting: entry == nil ? baseOffset : nil)
            try check(entry, against: walk)
            var found = Boundary(position: 0, offset: baseOffset)
            while let (header, start) = try walk.next(), start <= position {
                found = Boundary(position: start, offset: header.baseOffset)
            }
            return found
        }
    }

    /// Where a search for timestamps of at least `timestamp` may begin: no batch before has one.
    func searchStart(forTimestamp timestamp: Int64, intervalBytes: Int) throws(LogError) -> Boundary {
        try searching(intervalBytes) { () throws(LogError) in
            guard let entry = timeIndex.last(below: timestamp) else { return Boundary(position: 0, offset: baseOffset) }
            return try batch(of: entry, intervalBytes: intervalBytes).1
        }
    }

    func largestTimestamp(intervalBytes: Int) throws(LogError) -> LargestTimestamp {
        if let largest { return largest }
        let found = try searching(intervalBytes) { () throws(LogError) in
            var found = LargestTimestamp(timestamp: -1, offset: baseOffset)
            var start = Boundary(position: 0, offset: baseOffset)
            if let entry = timeIndex.entries.last {
                let (header, boundary) = try batch(of: entry, intervalBytes: intervalBytes)
                found = LargestTimestamp(timestamp: header.maxTimestamp, offset: header.lastOffset)
                start = boundary
            }
            var walk = HeaderWalk(self, from: start.position, expecting: start.offset)
            while let (header, _) = try walk.next() {
                guard header.maxTimestamp > found.timestamp else { continue }
                found = LargestTimestamp(timestamp: header.maxTimestamp, offset: header.lastOffset)
            }
            return found
        }
        largest = found
        return found
    }

    /// Kafka's `rollingBasedTimestamp`; −1 when the segment is empty or its first batch has none.
    func rollTimestamp() throws(LogError) -> Int64 {
        if let firstTimestamp { return firstTimestamp }
        guard sizeBytes > 0 else { return -1 }
        var walk = HeaderWalk(self, from: 0, expecting: baseOffset)
        let first = try walk.next()?.header.maxTimestamp ?? -1
        firstTimestamp = first
        return first
    }

    /// The batch that a time index entry names, checked to be the one that it was made from.
    private func batch(of entry: TimeIndex.Entry, intervalBytes: Int) throws(LogError) -> (BatchHeader, Boundary) {
        let boundary = try locate(baseOffset + Offset(entry.relativeOffset), intervalBytes: intervalBytes)
        var walk = HeaderWalk(self, from: boundary.position, expecting: boundary.offset)
        guard let (header, _) = try walk.next(), header.maxTimestamp == entry.timestamp,
            header.lastOffset == baseOffset + Offset(entry.relativeOffset)
        else { throw .damaged("\(path): time index names another batch", from: baseOffset) }
        return (header, boundary)
    }

    /// An entry is believed when a batch with that last offset begins there.
    private func check(_ entry: OffsetIndex.Entry?, against walk: HeaderWalk) throws(LogError) {
        guard let entry, !indexesProven else { return }
        var copy = walk
        guard let (header, _) = try copy.next(), header.lastOffset - baseOffset == Offset(entry.relativeOffset) else {
            throw .damaged("\(path): index names another batch", from: baseOffset)
        }
    }

    /// Runs a search by index. When it fails on an index that came from a file, the index is made again from the
    /// batches first.
    private func searching<T>(_ intervalBytes: Int, _ search: () throws(LogError) -> T) throws(LogError) -> T {
        loadIndexes(intervalBytes: intervalBytes)
        do {
            return try search()
        } catch {
            guard case .damaged = error, !indexesProven else { throw error }
            rebuildIndexes(intervalBytes: intervalBytes)
            return try search()
        }
    }

    // MARK: The index files

    func loadIndexes(intervalBytes: Int) {
        guard !indexesLoaded else { return }
        let relativeEnd = nextOffset - baseOffset
        let offsets = contents(".index").flatMap { OffsetIndex($0, sizeBytes: sizeBytes, relativeEnd: relativeEnd) }
        let times = contents(".timeindex").flatMap { TimeIndex($0, relativeEnd: relativeEnd) }
        if let offsets, let times {
            (offsetIndex, timeIndex) = (offsets, times)
            indexesLoaded = true
        } else {
            rebuildIndexes(intervalBytes: intervalBytes)
        }
    }

    /// The last entry of the offset index as its file has it, without the rest; nil when there is none that could be
    /// right.
    func lastSavedEntry() -> OffsetIndex.Entry? {
        let path = SegmentFiles.path(directory, baseOffset, ".index")
        guard let file = try? disk.open(path, create: false) else { return nil }
        defer { disk.close(file) }
        guard let size = try? disk.sizeBytes(of: file), size >= 8, size % 8 == 0,
            var bytes = try? disk.read(file, at: size - 8, length: 8),
            let (offset, position) = bytes.readMultipleIntegers(as: (Int32, Int32).self),
            offset >= 0, position > 0, Int64(position) < sizeBytes
        else { return nil }
        return OffsetIndex.Entry(relativeOffset: offset, position: position)
    }

    /// Drops the indexes of a closed segment from memory; the next search loads them again.
    func unloadIndexes() {
        guard indexesLoaded, offsetIndex.savedCount == offsetIndex.entries.count,
            timeIndex.savedCount == timeIndex.entries.count, !indexFilesStale
        else { return }
        (offsetIndex, timeIndex, indexesLoaded, indexesProven) = (OffsetIndex(), TimeIndex(), false, false)
    }

    private func contents(_ suffix: String) -> ByteBuffer? {
        guard let file = try? disk.open(SegmentFiles.path(directory, baseOffset, suffix), create: false) else {
            return nil
        }
        defer { disk.close(file) }
        guard let size = try? disk.sizeBytes(of: file), size <= Int64(Int32.max) else { return nil }
        return try? disk.read(file, at: 0, length: Int(size))
    }

    /// Makes both indexes from the batches, as far as they can be walked.
    func rebuildIndexes(intervalBytes: Int) {
        startIndexes(keepingBelow: Boundary(position: 0, offset: baseOffset))
        indexesProven = true
        var walk = HeaderWalk(self, from: 0, expecting: baseOffset)
        while let (header, position) = try? walk.next() { index(header, at: position, intervalBytes: intervalBytes) }
        noteLargestInTimeIndex()
        saveIndexes()
    }

    /// Makes the indexes ready to take note of batches from `boundary` on: entries at or behind it go, here and in the
    /// files.
    func startIndexes(keepingBelow boundary: Boundary) {
        offsetIndex.truncate(toPosition: boundary.position)
        timeIndex.truncate(toRelativeOffset: boundary.offset - baseOffset)
        indexesLoaded = true
        indexFilesStale = true
        let indexed = offsetIndex.entries.last.map { Int64($0.position) } ?? 0
        bytesSinceIndexEntry = Int(boundary.position - indexed)
        recent.removeAll { $0.position >= boundary.position }
        if boundary.position == 0 {
            (largest, firstTimestamp) = (LargestTimestamp(timestamp: -1, offset: baseOffset), nil)
        } else if let known = largest, known.offset >= boundary.offset {
            largest = nil
        }
    }

    /// Index files are caches: what cannot be written is left out.
    func saveIndexes() {
        // Of a segment that is not in the log yet: the names are another's.
        guard fileSuffix != SegmentFiles.cleaned else { return }
        if indexFile == nil { indexFile = openIndex(".index") }
        if timeIndexFile == nil { timeIndexFile = openIndex(".timeindex") }
        guard let indexFile, let timeIndexFile else { return }
        do {
            let offsets = Int64(offsetIndex.savedCount * OffsetIndex.entryBytes)
            let times = Int64(timeIndex.savedCount * TimeIndex.entryBytes)
            if indexFilesStale {
                try disk.truncate(indexFile, to: offsets)
                try disk.truncate(timeIndexFile, to: times)
                indexFilesStale = false
            }
            if offsetIndex.entries.count > offsetIndex.savedCount {
                try disk.write(
                    ByteBuffer(), offsetIndex.bytes(from: offsetIndex.savedCount), to: indexFile, at: offsets)
                offsetIndex.savedCount = offsetIndex.entries.count
            }
            if timeIndex.entries.count > timeIndex.savedCount {
                try disk.write(ByteBuffer(), timeIndex.bytes(from: timeIndex.savedCount), to: timeIndexFile, at: times)
                timeIndex.savedCount = timeIndex.entries.count
            }
        } catch {
            indexFilesStale = true
        }
    }

    /// At the end of an opening. Where there is no entry, and no file that says otherwise, none is made: a start with
    /// thousands of small logs makes twice as many names.
    func saveOpenedIndexes(filesExist: Bool) {
        guard filesExist || indexFile != nil || !offsetIndex.entries.isEmpty || !timeIndex.entries.isEmpty else {
            return
        }
        saveIndexes()
    }

    private func openIndex(_ suffix: String) -> FileHandle? {
        try? disk.open(SegmentFiles.path(directory, baseOffset, suffix), create: true)
    }

    // MARK: Going

    /// A log whose cut failed is closed as a whole, and some of its segments may be gone already.
    func close() {
        closeIndexes()
        guard !isClosed else { return }
        isClosed = true
        disk.close(file)
    }

    func closeIndexes() {
        if let indexFile { disk.close(indexFile) }
        if let timeIndexFile { disk.close(timeIndexFile) }
        (indexFile, timeIndexFile) = (nil, nil)
    }

    /// Removes the indexes first: without its `.log` an index is litter, without its indexes a segment is still whole.
    /// What cannot be removed can still be read. Where other segments take its place, what others wrote beside it
    /// stays.
    func remove(withCompanions: Bool = true) throws(LogError) {
        closeIndexes()
        let disk = disk
        for suffix in [".index", ".timeindex"] + (withCompanions ? SegmentFiles.companions : []) + [fileSuffix] {
            let path = SegmentFiles.path(directory, baseOffset, suffix)
            try onDisk { () throws(DiskError) in try disk.remove(path) }
        }
        close()
    }
}
