// What was committed in a compacted log, record by record: copies of it are no longer byte for byte the same, and what
// they still have must be what was written.

import Model
import NIOCore
import Records

struct CommittedRecord: Equatable {
    /// In hexadecimal digits; nil: without a key it may go at any cleaning.
    var key: String?
    var isTombstone: Bool
    var digest: UInt64

    init(_ record: Record) {
        key = record.key.map { key in key.readableBytesView.map { Self.hex($0) }.joined() }
        isTombstone = record.value == nil
        var digest: UInt64 = 0xcbf2_9ce4_8422_2325
        func add(_ bytes: ByteBuffer?) {
            for byte in bytes?.readableBytesView ?? ByteBuffer().readableBytesView {
                digest = (digest ^ UInt64(byte)) &* 0x100_0000_01b3
            }
            digest = (digest ^ 0x1ff) &* 0x100_0000_01b3
        }
        add(record.key)
        add(record.value)
        for header in record.headers { add(header.value) }
        self.digest = digest
    }

    private static func hex(_ byte: UInt8) -> String {
        let digits = Array("0123456789abcdef")
        return String([digits[Int(byte >> 4)], digits[Int(byte & 15)]])
    }
}

struct CommittedRecords {
    /// By offset.
    private(set) var records: [CommittedRecord] = []
    /// The last offset of each key.
    private(set) var newest = SortedMap<String, Offset>()

    subscript(offset: Offset) -> CommittedRecord? {
        records.indices.contains(Int(offset)) ? records[Int(offset)] : nil
    }

    mutating func add(_ record: Record) {
        let committed = CommittedRecord(record)
        if let key = committed.key { newest[key] = Offset(records.count) }
        records.append(committed)
    }

    /// What of a batch is not as it was committed, in words.
    func whatIsWrong(in batch: ByteBuffer, _ header: BatchHeader) -> String? {
        guard header.nextOffset <= Offset(records.count) else {
            return "\(header.baseOffset)..<\(header.nextOffset) reaches behind what is committed"
        }
        do throws(BatchError) {
            for record in try decodeRecords(batch) where self[record.offset] != CommittedRecord(record) {
                return "offset \(record.offset) holds another record than was committed"
            }
            return nil
        } catch {
            return "the batch at \(header.baseOffset) cannot be read: \(error)"
        }
    }
}
