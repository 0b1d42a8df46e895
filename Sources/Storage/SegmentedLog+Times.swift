// Finding records by time. A batch's largest timestamp stays what it was when a cleaning takes records out of it, so it
// is a bound on those that are left, and the same on all copies whenever they are cleaned; where batches may have lost
// records, these are looked at.

import Model
import NIOCore
import Records

extension SegmentedLog {
    /// The first record with a timestamp of at least `timestamp` and an offset below `limit`.
    package func offset(
        forTimestamp timestamp: Int64, below limit: Offset
    ) throws(LogError) -> (offset: Offset, timestamp: Int64, epoch: LeaderEpoch)? {
        let interval = settings.indexIntervalBytes
        for segment in segments where segment.nextOffset > startOffset && segment.baseOffset < limit {
            noteIndexUse(segment)
            guard try segment.largestTimestamp(intervalBytes: interval).timestamp >= timestamp else { continue }
            var start = try segment.searchStart(forTimestamp: timestamp, intervalBytes: interval)
            if start.offset < startOffset { start = try segment.locate(startOffset, intervalBytes: interval) }
            var walk = HeaderWalk(segment, from: start.position, expecting: start.offset)
            while let (header, position) = try walk.next(), header.baseOffset < limit {
                guard header.maxTimestamp >= timestamp, header.recordsCount > 0 else { continue }
                let records = try records(of: header, at: position, in: segment)
                let found = records.first { $0.timestamp >= timestamp && $0.offset >= startOffset && $0.offset < limit }
                if let found { return (found.offset, found.timestamp, header.partitionLeaderEpoch) }
            }
        }
        return nil
    }

    /// The first record that has the largest timestamp of all below `limit` (ListOffsets −3, KIP-734).
    package func offsetOfMaxTimestamp(
        below limit: Offset
    ) throws(LogError) -> (offset: Offset, timestamp: Int64, epoch: LeaderEpoch)? {
        let interval = settings.indexIntervalBytes
        var best: LatestBatch?
        // From the end: what lies before is mostly older, and its index says so.
        for segment in segments.reversed() where segment.nextOffset > startOffset && segment.baseOffset < limit {
            noteIndexUse(segment)
            let floor = max(0, best?.timestamp ?? 0)
            if segment.baseOffset >= startOffset, segment.nextOffset <= limit {
                let bound = try segment.largestTimestamp(intervalBytes: interval)
                guard bound.timestamp >= floor, segment.sizeBytes > 0 else { continue }
                let start = try segment.locate(bound.offset, intervalBytes: interval)
                var walk = HeaderWalk(segment, from: start.position, expecting: start.offset)
                if let (header, position) = try walk.next(), header.isWhole {
                    best = LatestBatch(segment: segment, header: header, position: position, timestamp: bound.timestamp)
                    continue
                }
            }
            if let latest = try knownLatestBatch(in: segment, below: limit), latest.timestamp >= floor { best = latest }
        }
        guard let best else { return nil }
        let records = try records(of: best.header, at: best.position, in: best.segment)
        let found = records.first { $0.timestamp == best.timestamp && $0.offset >= startOffset }
        return found.map { ($0.offset, $0.timestamp, best.header.partitionLeaderEpoch) }
    }

    /// Of a closed segment that counts whole it is remembered: any client may ask again and again.
    private func knownLatestBatch(in segment: Segment, below limit: Offset) throws(LogError) -> LatestBatch? {
        guard segment !== active, segment.baseOffset >= startOffset, segment.nextOffset <= limit else {
            return try latestBatch(in: segment, below: limit)
        }
        if latestBatches.swaps != swaps || latestBatches.generation != generation
            || latestBatches.ofSegments.count > segments.count
        {
            latestBatches = LatestBatches(swaps: swaps, generation: generation)
        }
        if let known = latestBatches.ofSegments[segment.baseOffset], known.segment === segment { return known }
        let latest = try latestBatch(in: segment, below: limit)
        latestBatches.ofSegments[segment.baseOffset] = latest
        return latest
    }

    /// The first batch of a segment with the largest timestamp of all there. Batches that lost records are looked into
    /// by falling bounds, so mostly one of them is.
    private func latestBatch(in segment: Segment, below limit: Offset) throws(LogError) -> LatestBatch? {
        let interval = settings.indexIntervalBytes
        let start = try segment.locate(max(startOffset, segment.baseOffset), intervalBytes: interval)
        var walk = HeaderWalk(segment, from: start.position, expecting: start.offset)
        var best: LatestBatch?
        var doubtful: [Bound] = []
        while let (header, position) = try walk.next(), header.nextOffset <= limit {
            guard header.recordsCount > 0 else { continue }
            if !header.isWhole || header.baseOffset < startOffset {
                if let best, header.maxTimestamp <= best.timestamp { continue }
                doubtful.append(Bound(timestamp: header.maxTimestamp, offset: header.baseOffset, position: position))
                if doubtful.count >= Self.doubtfulMax { try decide(&doubtful, &best, in: segment) }
            } else if header.maxTimestamp >= 0, header.maxTimestamp > best?.timestamp ?? -1 {
                best = LatestBatch(segment: segment, header: header, position: position, timestamp: header.maxTimestamp)
            }
        }
        try decide(&doubtful, &best, in: segment)
        return best
    }

    /// So many batches are remembered to be looked into together.
    private static let doubtfulMax = 65_536

    private func decide(
        _ doubtful: inout [Bound], _ best: inout LatestBatch?, in segment: Segment
    ) throws(LogError) {
        defer { doubtful.removeAll() }
        doubtful.sort { ($1.timestamp, $0.offset) < ($0.timestamp, $1.offset) }
        for bound in doubtful where bound.mayBeLater(than: best) {
            var there = HeaderWalk(segment, from: bound.position, expecting: bound.offset)
            guard let (header, position) = try there.next() else { continue }
            let kept = try records(of: header, at: position, in: segment).filter { $0.offset >= startOffset }
            guard let timestamp = kept.map(\.timestamp).max(), timestamp >= 0 else { continue }
            let latest = LatestBatch(segment: segment, header: header, position: position, timestamp: timestamp)
            if latest.isLater(than: best) { best = latest }
        }
    }

    /// No record of a batch is younger.
    private struct Bound {
        var timestamp: Int64
        var offset: Offset
        var position: Int64

        func mayBeLater(than best: LatestBatch?) -> Bool {
            guard let best else { return timestamp >= 0 }
            return timestamp > best.timestamp || (timestamp == best.timestamp && offset < best.header.baseOffset)
        }
    }

    private func records(
        of header: BatchHeader, at position: Int64, in segment: Segment
    ) throws(LogError) -> [Record] {
        let (disk, file) = (disk, segment.file)
        let batch: ByteBuffer
        do throws(DiskError) {
            batch = try disk.read(file, at: position, length: header.sizeBytes)
        } catch {
            guard error.isUnreadable else { throw .disk(error) }
            throw .damaged("\(segment.path): position \(position) cannot be read: \(error)", from: header.baseOffset)
        }
        // A topic's own bound may be any; what was taken once is no damage for being large.
        guard verifyCRC(of: batch), let records = try? decodeRecords(batch, maxDecompressedBytes: .max) else {
            throw .damaged("\(segment.path): batch at position \(position) does not check out", from: header.baseOffset)
        }
        return records
    }
}

/// The first batch of a segment, or of a log, that holds its largest timestamp.
struct LatestBatch {
    var segment: Segment
    var header: BatchHeader
    var position: Int64
    /// Of its records.
    var timestamp: Int64

    fileprivate func isLater(than other: LatestBatch?) -> Bool {
        guard let other else { return true }
        return timestamp > other.timestamp
            || (timestamp == other.timestamp && header.baseOffset < other.header.baseOffset)
    }
}

/// Of closed segments, until batches get other positions.
struct LatestBatches {
    var swaps: UInt32 = 0
    var generation: UInt32 = 0
    var ofSegments: [Offset: LatestBatch] = [:]
}

extension BatchHeader {
    /// No cleaning has taken records out of it.
    fileprivate var isWhole: Bool { Int64(recordsCount) == Int64(lastOffsetDelta) + 1 }
}
