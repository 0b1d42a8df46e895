// Space kept back on the data directory's disk, so that a full disk refuses records and does not end the node.

import CPosix
import Glibc
import Model
import NIOConcurrencyHelpers
import Storage

/// A file that holds nothing but space. When the disk is full, what a node cannot live without (the metadata log, the
/// vote, checkpoints, the directories of partitions) gets that space, and records get none until the file is whole
/// again: they would take it in an instant. It is given a piece at a time, because whoever else fills the disk takes
/// what lies free. Used from all threads that write.
package final class SpaceReserve: Sendable {
    /// Room for months of metadata records, and for the largest snapshot of a few thousand partitions.
    private static let sizeBytesMax: UInt64 = 16 << 20
    /// Of a small file system no more than this part.
    private static let shareOfFileSystem: UInt64 = 32
    /// Given away in so many pieces, of a megabyte at most.
    private static let pieces: Int64 = 16
    private static let pieceBytesMax: Int64 = 1 << 20
    private static let blockBytes: Int64 = 4096
    /// How often a full disk is asked whether there is space again.
    private static let retryMs: Int64 = 200

    private enum State {
        case held
        /// Given away but for that much, or not to be had at the start; last asked for at that time.
        case missing(leftBytes: Int64, triedAt: Instant)
        /// This file system cannot keep space back.
        case unknown
    }

    private let directory: String
    private let path: String
    private let sizeBytes: Int64
    private let report: @Sendable (String) -> Void
    private let state: NIOLockedValueBox<State>

    package init(dataDirectory: String, report: @escaping @Sendable (String) -> Void) {
        directory = dataDirectory
        path = dataDirectory + "/.space-reserve"
        self.report = report
        sizeBytes = Int64(min(Self.sizeBytesMax, Self.totalBytes(dataDirectory) / Self.shareOfFileSystem))
        state = NIOLockedValueBox(.held)
        switch Self.take(path, sizeBytes, elseKeeping: 0) {
        case 0: break
        case ENOSPC, EDQUOT:
            state.withLockedValue { $0 = .missing(leftBytes: 0, triedAt: NodeClock.now) }
            report("the disk of \(dataDirectory) is full: records are refused until there is space")
        default: state.withLockedValue { $0 = .unknown }
        }
    }

    /// Gives a piece of the space away. False when there was none: then the write has failed for good.
    func release() -> Bool {
        let (isReleased, isFirst) = state.withLockedValue { state in
            switch state {
            case .held:
                state = .missing(leftBytes: give(of: sizeBytes), triedAt: NodeClock.now)
                return (true, true)
            case .missing(let leftBytes, _) where leftBytes > 0:
                state = .missing(leftBytes: give(of: leftBytes), triedAt: NodeClock.now)
                return (true, false)
            case .missing, .unknown: return (false, false)
            }
        }
        if isFirst {
            report(
                "the disk is full: records are refused until there is space; "
                    + "the \(sizeBytes >> 10) KiB of \(path) now serve the metadata")
        }
        return isReleased
    }

    /// Answers what is left.
    private func give(of bytes: Int64) -> Int64 {
        let even = sizeBytes / Self.pieces / Self.blockBytes * Self.blockBytes
        let left = bytes - min(Self.pieceBytesMax, max(even, Self.blockBytes))
        if left > 0, truncate(path, off_t(left)) == 0 { return left }
        unlink(path)
        return 0
    }

    /// Whether records may be written. Takes the space back as soon as there is enough.
    func isWhole() -> Bool {
        let (isWhole, isRegained) = state.withLockedValue { state in
            guard case .missing(let leftBytes, let triedAt) = state else { return (true, false) }
            let now = NodeClock.now
            guard now.milliseconds(since: triedAt) >= Self.retryMs else { return (false, false) }
            // What it takes in vain is missing to others for a moment.
            let isTaken = hasRoom(for: sizeBytes - leftBytes) && Self.take(path, sizeBytes, elseKeeping: leftBytes) == 0
            state = isTaken ? .held : .missing(leftBytes: leftBytes, triedAt: now)
            return (isTaken, isTaken)
        }
        if isRegained { report("the disk has space again: records are taken") }
        return isWhole
    }

    private func hasRoom(for bytes: Int64) -> Bool {
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else { return true }
        let (free, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        return overflow || free >= UInt64(max(0, bytes)) + UInt64(Self.pieceBytesMax)
    }

    private static func totalBytes(_ directory: String) -> UInt64 {
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else { return .max }
        let (product, overflow) = UInt64(status.f_blocks).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        return overflow ? .max : product
    }

    /// 0, or an errno. What was half taken is given back.
    private static func take(_ path: String, _ sizeBytes: Int64, elseKeeping leftBytes: Int64) -> Int32 {
        let descriptor = posix_open_file(path, 1, 0)
        guard descriptor >= 0 else { return -descriptor }
        let file = OpenFile(descriptor: descriptor)
        return withExtendedLifetime(file) {
            var status = EINTR
            while status == EINTR { status = posix_fallocate(descriptor, 0, off_t(sizeBytes)) }
            if status != 0, leftBytes == 0 || ftruncate(descriptor, off_t(leftBytes)) != 0 { unlink(path) }
            return status
        }
    }
}

extension Optional where Wrapped == SpaceReserve {
    /// Does what a full disk must not stop, if need be again with the space that was kept back.
    func retrying<Value>(_ body: () throws(DiskError) -> Value) throws(DiskError) -> Value {
        while true {
            do throws(DiskError) {
                return try body()
            } catch {
                guard case .noSpace = error, let self, self.release() else { throw error }
            }
        }
    }
}
