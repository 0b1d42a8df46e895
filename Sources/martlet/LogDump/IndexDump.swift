// The index files of a segment: their entries, and whether each names a batch that is there.

import Model
import NIOCore

/// Where a batch lies, for checking what names it.
struct BatchPlace {
    var position: Int64
    var baseOffset: Offset
    var lastOffset: Offset
    var maxTimestamp: Int64
}

/// The batches of a segment's log, as far as it was walked.
struct SegmentPlaces {
    var batches: [BatchPlace] = []
    var sizeBytes: Int64 = 0

    func batch(at position: Int64) -> BatchPlace? {
        let index = partition { $0.position < position }
        return index < batches.count && batches[index].position == position ? batches[index] : nil
    }

    func batch(holding offset: Offset) -> BatchPlace? {
        let index = partition { $0.baseOffset <= offset }
        return index > 0 && batches[index - 1].lastOffset >= offset ? batches[index - 1] : nil
    }

    private func partition(_ isBefore: (BatchPlace) -> Bool) -> Int {
        var low = 0
        var high = batches.count
        while low < high {
            let middle = (low + high) / 2
            if isBefore(batches[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// One entry, and where it stands in its file.
struct IndexEntry {
    var filePosition: Int64
    var offset: Offset
    /// Of the batch in the log; nil in a time index.
    var position: Int64?
    /// Nil in an offset index.
    var timestamp: Int64?

    /// No segment has what it says: an offset below its own, or a place before its begin.
    var isNoise = false

    var text: String {
        if isNoise { return "no entry at position \(filePosition)" }
        return position.map { "offset \(offset)  position \($0)" } ?? "\(timeText(timestamp ?? -1))  offset \(offset)"
    }

    var json: Json {
        .object([
            "type": "indexEntry".json, "offset": isNoise ? .null : offset.json,
            "position": isNoise ? .null : position.json, "timestampMs": isNoise ? .null : timestamp.json,
        ])
    }

    /// What is wrong with it, beside the batches of its log.
    func problem(among places: SegmentPlaces) -> String? {
        if let position {
            if position >= places.sizeBytes {
                return "the entry names position \(position), and the log ends at \(places.sizeBytes)"
            }
            guard let batch = places.batch(at: position) else {
                return "the entry names position \(position), where no batch begins"
            }
            return batch.lastOffset == offset
                ? nil
                : "the entry says offset \(offset) for the batch at position \(position), which ends at offset "
                    + "\(batch.lastOffset)"
        }
        guard let batch = places.batch(holding: offset) else {
            return "the entry names offset \(offset), which no batch holds"
        }
        return batch.maxTimestamp == timestamp
            ? nil
            : "the entry says timestamp \(timestamp ?? -1) for offset \(offset), whose batch has \(batch.maxTimestamp)"
    }
}

/// A `.index` (8 bytes an entry: int32 offset − base, int32 position) or a `.timeindex` (12 bytes: int64 timestamp,
/// int32 offset − base), whole.
struct IndexFile {
    private(set) var entries: [IndexEntry] = []
    /// Bytes behind the last whole entry.
    private(set) var tornBytes: Int64 = 0
    let sizeBytes: Int64
    let entrySizeBytes: Int

    /// Kafka's are 10 MiB at most (`segment.index.bytes`).
    static let sizeBytesMax: Int64 = 1 << 30

    init(_ file: FileBytes, isTimeIndex: Bool, segmentBase: Offset) throws {
        sizeBytes = file.sizeBytes
        entrySizeBytes = isTimeIndex ? 12 : 8
        guard sizeBytes <= Self.sizeBytesMax, var bytes = file.bytes(at: 0, count: Int(sizeBytes)) else {
            throw CommandFailure("\(file.path) cannot be an index: it has \(sizeBytes) bytes")
        }
        var at: Int64 = 0
        if isTimeIndex {
            while let (timestamp, relative) = bytes.readMultipleIntegers(as: (Int64, Int32).self) {
                entries.append(
                    IndexEntry(
                        filePosition: at, offset: segmentBase &+ Offset(relative), position: nil, timestamp: timestamp,
                        isNoise: relative < 0))
                at += 12
            }
        } else {
            while let (relative, position) = bytes.readMultipleIntegers(as: (Int32, Int32).self) {
                entries.append(
                    IndexEntry(
                        filePosition: at, offset: segmentBase &+ Offset(relative), position: Int64(position),
                        timestamp: nil, isNoise: relative < 0 || position < 0))
                at += 8
            }
        }
        tornBytes = Int64(bytes.readableBytes)
        // Kafka makes the file of an open segment large at once, and fills it: zeros at the end are no entries.
        while let last = entries.last, last.offset == segmentBase, (last.position ?? last.timestamp) == 0 {
            entries.removeLast()
        }
    }

    /// Entries that do not rise, with what is wrong.
    var disorder: [(entry: IndexEntry, problem: String)] {
        var found: [(entry: IndexEntry, problem: String)] = []
        let sound = entries.filter { !$0.isNoise }
        for (before, entry) in zip(sound, sound.dropFirst()) {
            let rises =
                if let position = entry.position {
                    entry.offset > before.offset && position > before.position ?? -1
                } else {
                    entry.offset >= before.offset && entry.timestamp ?? 0 > before.timestamp ?? -1
                }
            if !rises { found.append((entry, "the entry does not lie behind the one before it")) }
        }
        return found
    }
}
