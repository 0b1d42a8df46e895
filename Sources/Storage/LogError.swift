// Why a log refused, and which Kafka error code says so to a client.

import Model

package enum LogError: Error, Equatable, Sendable {
    case disk(DiskError)
    /// An earlier write or barrier failed; nothing may be appended until the process starts again on what the disk
    /// really holds.
    case fenced
    /// Bytes that were durable once are not what they were: the file and the reason, and the first offset that cannot
    /// be read.
    case damaged(String, from: Offset)
    case offsetOutOfRange(Offset, startOffset: Offset, endOffset: Offset)
    /// Replicated batches do not follow on from the end of the log.
    case outOfOrder(String)

    package var errorCode: ErrorCode {
        switch self {
        case .disk, .fenced, .damaged: .kafkaStorageError
        case .offsetOutOfRange: .offsetOutOfRange
        case .outOfOrder: .corruptMessage
        }
    }
}

extension LogError {
    var isUnreadable: Bool { if case .disk(let error) = self { error.isUnreadable } else { false } }
}

/// Runs one operation of the disk under the log's own error type.
@inline(__always)
func onDisk<T>(_ operation: () throws(DiskError) -> T) throws(LogError) -> T {
    do {
        return try operation()
    } catch {
        throw .disk(error)
    }
}
