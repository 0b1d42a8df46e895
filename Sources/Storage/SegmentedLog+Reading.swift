// Finding batches by offset, by size and by time.

import Model
import NIOCore
import Records

extension SegmentedLog {
    /// Whole batches of one segment, from the one that holds `offset`: up to `maxBytes`, but at least one when
    /// `atLeastOne`; none with a last offset at or behind `limit`. Nil when there is nothing such.
    ///
    /// With `skippingEmpty` a segment that holds nothing but empty batches from `offset` on is passed over where there
    /// is more behind it: for consumers, of which some go on by one offset only when an answer has no record. A replica
    /// must have them.
    package func read(
        from offset: Offset, maxBytes: Int, below limit: Offset, atLeastOne: Bool, skippingEmpty: Bool = false
    ) throws(LogError) -> LogSlice? {
        guard var (slice, segment) = try find(from: offset, maxBytes: maxBytes, below: limit, atLeastOne: atLeastOne)
        else { return nil }
        while skippingEmpty, mayHoldEmptyBatches, try isEmpty(slice, in: segment),
            let next = try find(from: slice.nextOffset, maxBytes: maxBytes, below: limit, atLeastOne: atLeastOne)
        {
            (slice, segment) = next
        }
        let start = Boundary(position: slice.position, offset: slice.firstOffset)
        let end = Boundary(position: slice.position + Int64(slice.length), offset: slice.nextOffset)
        try prove(segment, from: start, to: end)
        return slice
    }

    /// What `read` with these arguments would have to wait for, because it is not in memory: the indexes first, and
    /// when they are there the batches. Without `asksDisk` all but the end of the log counts as cold.
    package func coldLook(from offset: Offset, maxBytes: Int, asksDisk: Bool) -> ColdLook {
        guard offset >= startOffset, offset < endOffset else { return .readable(bytes: maxBytes) }
        let segment = segment(holding: offset)
        // How long ago it was appended nobody counts.
        let trusted = segment === active ? disk.trustedTailBytes : 0
        return segment.coldLook(
            from: offset, maxBytes: maxBytes, intervalBytes: settings.indexIntervalBytes, trustedTailBytes: trusted,
            asksDisk: asksDisk)
    }

    private func find(
        from offset: Offset, maxBytes: Int, below limit: Offset, atLeastOne: Bool
    ) throws(LogError) -> (slice: LogSlice, segment: Segment)? {
        guard offset >= startOffset, offset <= endOffset else {
            throw .offsetOutOfRange(offset, startOffset: startOffset, endOffset: endOffset)
        }
        guard offset < min(limit, endOffset) else { return nil }
        try checkReadable(offset)
        let limit = min(limit, damages.first { $0.offsets.lowerBound > offset }?.offsets.lowerBound ?? .max)
        let interval = settings.indexIntervalBytes
        let segment = segment(holding: offset)
        let start = try segment.locate(offset, intervalBytes: interval)
        var end = limit >= segment.nextOffset ? segment.end : try segment.locate(limit, intervalBytes: interval)
        guard end.position > start.position else { return nil }
        if end.position - start.position > Int64(max(0, maxBytes)) {
            end = try segment.boundary(atOrBefore: start.position + Int64(max(0, maxBytes)), intervalBytes: interval)
            if end.position <= start.position {
                guard atLeastOne else { return nil }
                var walk = HeaderWalk(segment, from: start.position, expecting: start.offset)
                guard let (header, _) = try walk.next() else { return nil }
                end = Boundary(position: walk.position, offset: header.nextOffset)
            }
            end = try passEmptyBatches(in: segment, from: end, below: limit)
        }
        let slice = LogSlice(
            file: segment.file, position: start.position, length: Int(end.position - start.position),
            firstOffset: start.offset, nextOffset: end.offset)
        return (slice, segment)
    }

    /// Some clients take an answer without a record for one that was too small for the next batch, and ask for more
    /// each time until they report an error. So an empty batch leaves with what is before it, though it adds its 61
    /// bytes.
    private func passEmptyBatches(
        in segment: Segment, from end: Boundary, below limit: Offset
    ) throws(LogError) -> Boundary {
        guard mayHoldEmptyBatches, end.position < segment.sizeBytes else { return end }
        var end = end
        var walk = HeaderWalk(segment, from: end.position, expecting: end.offset)
        while let (header, _) = try walk.next(), header.recordsCount == 0, header.lastOffset < limit {
            end = Boundary(position: walk.position, offset: header.nextOffset)
        }
        return end
    }

    private func isEmpty(_ slice: LogSlice, in segment: Segment) throws(LogError) -> Bool {
        var walk = HeaderWalk(segment, from: slice.position, expecting: slice.firstOffset)
        while walk.position < slice.position + Int64(slice.length), let (header, _) = try walk.next() {
            if header.recordsCount > 0 { return false }
        }
        return true
    }

    /// The same for whoever watches a log from outside: nothing is checked, and nothing is remembered as checked.
    package func inspect(from offset: Offset, maxBytes: Int, below limit: Offset) throws(LogError) -> LogSlice? {
        try find(from: offset, maxBytes: maxBytes, below: limit, atLeastOne: true)?.slice
    }

    package func bytes(of slice: LogSlice) throws(LogError) -> ByteBuffer {
        let disk = disk
        return try onDisk { () throws(DiskError) in
            try disk.read(slice.file, at: slice.position, length: slice.length)
        }
    }

    /// Walks the batch headers from the one that holds `offset` to the end, for rebuilding what is a function of the
    /// log. Also what lies below the log start is walked, as far as its segment is still there.
    package func forEachHeader(
        from offset: Offset, below bound: Offset = .max, _ body: (BatchHeader) -> Void
    ) throws(LogError) {
        _ = try walkHeaders(from: offset, below: bound, budgetBytes: .max, body)
    }

    /// The same a little at a time: answers from where on it is to be called again, and nil when all were walked. A
    /// header costs what is read for it.
    package func walkHeaders(
        from offset: Offset, below bound: Offset, budgetBytes: Int, _ body: (BatchHeader) -> Void
    ) throws(LogError) -> Offset? {
        guard offset < endOffset else { return nil }
        var left = budgetBytes
        let offset = max(offset, segments[0].baseOffset)
        for segment in segments where segment.nextOffset > offset || segment === active {
            guard segment.baseOffset < bound else { return nil }
            if offset >= segment.baseOffset { try checkReadable(offset) }
            if offset > segment.baseOffset, segment !== active { noteIndexUse(segment) }
            let start =
                offset <= segment.baseOffset
                ? Boundary(position: 0, offset: segment.baseOffset)
                : try segment.locate(offset, intervalBytes: settings.indexIntervalBytes)
            var walk = HeaderWalk(segment, from: start.position, expecting: start.offset)
            while let (header, _) = try walk.next() {
                guard header.baseOffset < bound else { return nil }
                body(header)
                left -= min(header.sizeBytes, HeaderWalk.headerCostBytes)
                guard left > 0 else { return header.nextOffset }
            }
            if segment.nextOffset < endOffset { try checkReadable(segment.nextOffset) }
        }
        return nil
    }

    /// The epoch of the record at `offset`; nil where there is none.
    package func epoch(at offset: Offset) -> LeaderEpoch? {
        offset >= startOffset && offset < endOffset ? epochs.epoch(at: offset) : nil
    }

    /// The header of the batch that holds `offset`; nil outside the log.
    package func header(at offset: Offset) throws(LogError) -> BatchHeader? {
        guard offset >= startOffset, offset < endOffset else { return nil }
        try checkReadable(offset)
        let segment = segment(holding: offset)
        let start = try segment.locate(offset, intervalBytes: settings.indexIntervalBytes)
        var walk = HeaderWalk(segment, from: start.position, expecting: start.offset)
        return try walk.next()?.header
    }

    /// A segment as retention sees it.
    package struct SegmentSummary: Equatable, Sendable {
        package var baseOffset: Offset
        package var nextOffset: Offset
        package var sizeBytes: Int64
    }

    package var segmentsCount: Int { segments.count }

    /// In offset order; the last one is active.
    package var segmentSummaries: [SegmentSummary] {
        segments.map { SegmentSummary(baseOffset: $0.baseOffset, nextOffset: $0.nextOffset, sizeBytes: $0.sizeBytes) }
    }

    /// What `retention.ms` is measured by: the largest timestamp in the segment that begins at `baseOffset`, or, where
    /// its records have none, when the segment was made or opened.
    package func retentionTimestamp(ofSegmentAt baseOffset: Offset) throws(LogError) -> Int64 {
        guard let segment = segments.first(where: { $0.baseOffset == baseOffset }) else { return -1 }
        if segment !== active { noteIndexUse(segment) }
        let largest = try segment.largestTimestamp(intervalBytes: settings.indexIntervalBytes).timestamp
        return largest >= 0 ? largest : segment.createdMs
    }

    private func checkReadable(_ offset: Offset) throws(LogError) {
        guard let damage = damages.first(where: { $0.offsets.contains(offset) }) else { return }
        throw .damaged("\(damage.file): \(damage.reason)", from: damage.offsets.lowerBound)
    }

    /// The first one that begins at or behind `offset`.
    func firstSegment(from offset: Offset) -> Segment? {
        let index = segmentIndex(holding: offset)
        if segments[index].baseOffset >= offset { return segments[index] }
        return index + 1 < segments.count ? segments[index + 1] : nil
    }

    func segmentIndex(holding offset: Offset) -> Int {
        if offset >= active.baseOffset { return segments.count - 1 }
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].baseOffset <= offset { low = middle + 1 } else { high = middle }
        }
        return max(0, low - 1)
    }

    func segment(holding offset: Offset) -> Segment {
        let segment = segments[segmentIndex(holding: offset)]
        if segment !== active { noteIndexUse(segment) }
        return segment
    }
}
