// Why a batch was refused, and the error code that tells the client.

import Model

package enum BatchError: Error, Equatable, Sendable {
    /// Bytes that are not what was sent: a wrong CRC, a length that does not fit, a broken compressed block.
    case corrupt(String)
    /// A batch that arrived whole and breaks a rule.
    case invalidRecord(String)
    /// A message set of before 2017 (0 or 1), or nonsense.
    case unsupportedMagic(Int8)
    /// Larger than `max.message.bytes`.
    case tooLarge(sizeBytes: Int, limit: Int)
    /// Outside `message.timestamp.before.max.ms` or `after.max.ms`, or of a type that only a broker may set.
    case invalidTimestamp(String)
    case unsupportedCompression(Int)
    /// A partition's entry in a Produce request holds exactly one batch.
    case moreThanOneBatch
    /// The records unpack to more than `limit` bytes.
    case decompressionTooLarge(limit: Int)

    /// What Kafka answers in the same case. Producers split and send again what was MESSAGE_TOO_LARGE, which is the
    /// right thing for honest records that unpack too far.
    package var errorCode: ErrorCode {
        switch self {
        case .corrupt: .corruptMessage
        case .invalidRecord, .moreThanOneBatch: .invalidRecord
        case .unsupportedMagic(let magic): magic == 0 || magic == 1 ? .invalidRecord : .corruptMessage
        case .tooLarge, .decompressionTooLarge: .messageTooLarge
        case .invalidTimestamp: .invalidTimestamp
        case .unsupportedCompression: .unsupportedCompressionType
        }
    }

    package var message: String {
        switch self {
        case .corrupt(let reason), .invalidRecord(let reason), .invalidTimestamp(let reason): reason
        case .unsupportedMagic(let magic): "record batches must have magic 2, this one has \(magic)"
        case .tooLarge(let sizeBytes, let limit): "the batch has \(sizeBytes) bytes, max.message.bytes is \(limit)"
        case .unsupportedCompression(let codec): "unknown compression codec \(codec)"
        case .moreThanOneBatch: "a partition's entry in a Produce request must hold exactly one record batch"
        case .decompressionTooLarge(let limit): "the batch unpacks to more than \(limit) bytes"
        }
    }
}
