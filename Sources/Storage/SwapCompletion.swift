// An opening finishes what a cleaning had decided when the process ended (see `SegmentedLog+Cleaning.swift`).

import Model
import NIOCore
import Records

struct SwapCompletion {
    let disk: any Disk
    let directory: String

    /// Answers whether names have changed. Every move may be the last one before another crash: what it leaves is again
    /// a swap that is decided.
    func run(_ names: [String]) throws(LogError) -> Bool {
        let bases = names.compactMap { SegmentFiles.baseOffset(of: $0, suffix: SegmentFiles.swap) }
        for base in bases { try finish(base, names) }
        return !bases.isEmpty
    }

    private func finish(_ base: Offset, _ names: [String]) throws(LogError) {
        let segment = try Segment(
            disk: disk, directory: directory, baseOffset: base, create: false, wallMs: 0,
            fileSuffix: SegmentFiles.swap)
        defer { segment.close() }
        let (disk, directory, path) = (disk, directory, segment.path)
        let end = try readableEnd(of: segment)
        let old = names.compactMap { SegmentFiles.baseOffset(of: $0, suffix: SegmentFiles.log) }
        if end == base, old.contains(base) {
            // Damage from its first byte on, and what it stands for is still there, or damage too.
            return try onDisk { () throws(DiskError) in try disk.remove(path) }
        }
        let file = segment.file
        try onDisk { () throws(DiskError) in
            // A killed process may have left this name without a barrier.
            try disk.flushNow(files: [file], directories: [directory])
            for offset in [base] + old.filter({ $0 > base && $0 < end }) {
                for suffix in [".index", ".timeindex", SegmentFiles.log] {
                    try disk.remove(SegmentFiles.path(directory, offset, suffix))
                }
            }
            try disk.flushNow(files: [], directories: [directory])
            try disk.rename(path, to: SegmentFiles.path(directory, base, SegmentFiles.log))
        }
    }

    /// Where its batches end, as far as they can be walked: damage in it is found like any other, once it has its name.
    private func readableEnd(of segment: Segment) throws(LogError) -> Offset {
        var walk = HeaderWalk(segment, from: 0, expecting: segment.baseOffset)
        var end = segment.baseOffset
        do throws(LogError) {
            while let (header, _) = try walk.next() { end = header.nextOffset }
        } catch {
            guard case .damaged = error else { throw error }
        }
        return end
    }
}
