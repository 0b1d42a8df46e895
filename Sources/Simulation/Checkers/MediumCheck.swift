// What a log calls durable, held against the medium itself (S1).

import DiskSimulation
import Model
import Storage

enum MediumCheck {
    /// What of `log` between `from` and `to` a loss of power could take, in words; nil when nothing.
    static func whatIsMissing(of log: SegmentedLog, from: Offset, to: Offset, on node: SimulatedNode) -> String? {
        guard to <= log.endOffset else { return "durable up to \(to), and the log ends at \(log.endOffset)" }
        var position = max(from, log.startOffset)
        while position < to {
            let slice: LogSlice?
            do throws(LogError) {
                slice = try log.inspect(from: position, maxBytes: 1 << 20, below: to)
            } catch {
                // What cannot be read is told by the checks of contents.
                return nil
            }
            guard let slice, slice.nextOffset > position else { return nil }
            let base = log.segmentSummaries.last { $0.baseOffset <= position }?.baseOffset ?? 0
            let path = path(log, base, on: node)
            guard node.disk.isNameDurable(path) else { return "\(path) has no name on the medium" }
            guard let isThere = isOnMedium(slice, of: path, on: node) else { return "\(path) is not there" }
            guard isThere else {
                return "\(position)..<\(slice.nextOffset) in \(path) is not on the medium"
            }
            position = slice.nextOffset
        }
        return nil
    }

    /// Where a segment lies: one that a cleaning has just swapped in has another name for a moment, and the one that it
    /// replaced may still have its own.
    static func path(_ log: SegmentedLog, _ base: Offset, on node: SimulatedNode) -> String {
        let swap = SegmentFiles.path(log.directory, base, ".log.swap")
        return log.isSettling(segmentAt: base) && node.disk.contents(of: swap) != nil
            ? swap : SegmentFiles.path(log.directory, base, ".log")
    }

    /// Nil: there is no such file.
    static func isOnMedium(_ slice: LogSlice, of path: String, on node: SimulatedNode) -> Bool? {
        guard let durable = node.disk.durableContents(of: path), let visible = node.disk.contents(of: path) else {
            return nil
        }
        let range = Int(slice.position)..<Int(slice.position) + slice.length
        return durable.count >= range.upperBound && durable[range] == visible[range]
    }
}
