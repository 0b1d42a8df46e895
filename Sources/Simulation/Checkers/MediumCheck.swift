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
            let path = path(of: log, holding: position)
            guard node.disk.isNameDurable(path) else { return "\(path) has no name on the medium" }
            guard let durable = node.disk.durableContents(of: path), let visible = node.disk.contents(of: path) else {
                return "\(path) is not there"
            }
            let range = Int(slice.position)..<Int(slice.position) + slice.length
            guard durable.count >= range.upperBound, durable[range] == visible[range] else {
                return "\(position)..<\(slice.nextOffset) in \(path) is not on the medium"
            }
            position = slice.nextOffset
        }
        return nil
    }

    private static func path(of log: SegmentedLog, holding offset: Offset) -> String {
        let base = log.segmentSummaries.last { $0.baseOffset <= offset }?.baseOffset ?? 0
        let digits = String(base)
        return log.directory + "/" + String(repeating: "0", count: 20 - digits.count) + digits + ".log"
    }
}
