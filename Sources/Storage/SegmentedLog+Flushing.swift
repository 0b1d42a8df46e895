// Barriers: what is dirty, what is under way, and what a report means.

import Model
import NIOCore

struct FlushState {
    struct Barrier {
        var sequence: UInt64
        var end: Offset
        var files: [Offset]
        var directories: [String]
        /// Where the newest segment begins whose name it covers.
        var names: Offset
    }

    /// Base offsets of segments written since the last barrier was asked for; rising.
    private(set) var dirtyFiles: [Offset] = []
    var dirtyDirectories: [String] = []
    var underWay: Barrier?
    /// A barrier was asked for while another was under way.
    var isWanted = false
    var lastSequence: UInt64 = 0

    var isDirty: Bool { !dirtyFiles.isEmpty || !dirtyDirectories.isEmpty }

    mutating func markDirty(_ baseOffset: Offset) {
        if dirtyFiles.last == baseOffset { return }
        let index = dirtyFiles.firstIndex { $0 >= baseOffset } ?? dirtyFiles.count
        if index < dirtyFiles.count, dirtyFiles[index] == baseOffset { return }
        dirtyFiles.insert(baseOffset, at: index)
    }

    mutating func markDirectoryDirty(_ directory: String) {
        if !dirtyDirectories.contains(directory) { dirtyDirectories.append(directory) }
    }

    /// The barrier under way counts no longer; what it was to cover is dirty again.
    mutating func forgetBarrier() {
        guard let barrier = underWay else { return }
        for file in barrier.files { markDirty(file) }
        for directory in barrier.directories { markDirectoryDirty(directory) }
        underWay = nil
        isWanted = false
    }

    mutating func clean() {
        dirtyFiles = []
        dirtyDirectories = []
    }
}

extension SegmentedLog {
    /// Tickets of epoch checkpoints have this bit in their sequence: their reports change nothing.
    private static let checkpointSequenceBit: UInt64 = 1 << 63

    /// Whether a barrier would make anything durable that no barrier under way covers.
    package var needsFlush: Bool { flushing.isDirty && !isFenced }
    package var isFlushUnderWay: Bool { flushing.underWay != nil }

    /// Asks for a barrier over everything appended, cut, rolled or removed since the last one, unless one is under way:
    /// then it is asked for when that is reported.
    package func requestFlush() {
        guard !isFenced, flushing.isDirty else { return }
        if flushing.underWay != nil {
            flushing.isWanted = true
            return
        }
        flushing.lastSequence += 1
        // Mutant: the segment before the roll is left out (S1).
        let count = settings.plantedBug == .rolledSegmentNotFlushed ? 1 : flushing.dirtyFiles.count
        let barrier = FlushState.Barrier(
            sequence: flushing.lastSequence, end: damages.first?.offsets.lowerBound ?? endOffset,
            files: flushing.dirtyFiles.suffix(count), directories: flushing.dirtyDirectories,
            names: active.baseOffset)
        flushing.underWay = barrier
        flushing.clean()
        let ticket = FlushTicket(owner: owner, generation: generation, sequence: barrier.sequence)
        disk.flush(ticket, files: handles(barrier.files), directories: barrier.directories)
    }

    /// A barrier's report. Answers whether `flushedEnd` moved. After a failure it throws and the log is fenced: every
    /// later append throws.
    package func flushed(_ ticket: FlushTicket, _ result: FlushResult) throws(LogError) -> Bool {
        precondition(ticket.owner == owner, "a report for another log")
        if ticket.sequence & Self.checkpointSequenceBit != 0 { return false }
        if ticket.sequence & Self.cleaningSequenceBit != 0 {
            try cleaningFlushed(ticket.sequence, result)
            return false
        }
        // Mutant: acknowledged is what the medium refused (S6, S1).
        if case .failed(let error) = result, settings.plantedBug != .flushFailureIgnored {
            isFenced = true
            flushing.underWay = nil
            throw .disk(error)
        }
        guard !isFenced, ticket.generation == generation, let barrier = flushing.underWay,
            barrier.sequence == ticket.sequence
        else { return false }
        flushing.underWay = nil
        let moved = barrier.end > flushedEnd
        flushedEnd = max(flushedEnd, barrier.end)
        durableNames = max(durableNames, barrier.names)
        try removeSegmentsBelowStart()
        saveEpochs()
        if flushing.isWanted {
            flushing.isWanted = false
            requestFlush()
        }
        return moved
    }

    /// An orderly stop: with `flushing` everything is durable when this returns. The log is of no use afterwards.
    package func close(flushing flushes: Bool) throws(LogError) {
        defer {
            isFenced = true
            cleaning?.close()
            cleaning = nil
            for segment in segments { segment.close() }
            closeRemoved()
        }
        guard !isFenced, flushes else { return }
        active.seal()
        let disk = disk
        let (files, directories) = (handles(segments.map(\.baseOffset)), [directory] + flushing.dirtyDirectories)
        if flushing.isDirty || flushing.underWay != nil {
            try onDisk { () throws(DiskError) in try disk.flushNow(files: files, directories: directories) }
            if damages.isEmpty { flushedEnd = endOffset }
        }
        if savedEpochs != epochs {
            let (path, contents) = (epochCheckpointPath, EpochCheckpoint.contents(epochs))
            try onDisk { () throws(DiskError) in try disk.replaceNow(path: path, contents: contents) }
        }
    }

    private func handles(_ baseOffsets: [Offset]) -> [FileHandle] {
        baseOffsets.compactMap { base in segments.last { $0.baseOffset == base }?.file }
    }

    // MARK: The epoch checkpoint

    private var epochCheckpointPath: String { directory + "/" + SegmentFiles.epochCheckpoint }

    /// Asks for the checkpoint to be written when the history has changed. Nothing waits for it: it is a cache.
    private func saveEpochs() {
        guard savedEpochs != epochs else { return }
        savedEpochs = epochs
        checkpointSequence += 1
        let ticket = FlushTicket(
            owner: owner, generation: generation, sequence: Self.checkpointSequenceBit | checkpointSequence)
        disk.replace(ticket, path: epochCheckpointPath, contents: EpochCheckpoint.contents(epochs))
    }
}
