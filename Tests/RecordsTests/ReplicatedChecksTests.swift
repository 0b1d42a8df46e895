// What a follower believes of its leader's answer.

import Model
import NIOCore
import Records
import Testing

@Suite struct ReplicatedChecksTests {
    private func joined(_ parts: [ByteBuffer]) -> ByteBuffer {
        var all = ByteBuffer()
        for part in parts { all.writeImmutableBuffer(part) }
        return all
    }

    private func code(_ records: ByteBuffer, expectedOffset: Offset = 10) -> ErrorCode? {
        refusal { () throws(BatchError) in
            try checkReplicated(records, expectedOffset: expectedOffset).sizeBytes
        }?.errorCode
    }

    @Test func contiguousBatchesAreTakenWhole() throws {
        let all = joined([
            batch(count: 3, baseOffset: 10), batch(count: 1, baseOffset: 13, isTransactional: true, isControl: true),
            batch(count: 9, baseOffset: 14, compression: .lz4),
        ])
        let (headers, sizeBytes) = try checkReplicated(all, expectedOffset: 10)
        #expect(headers.map(\.baseOffset) == [10, 13, 14])
        #expect(headers.last?.nextOffset == 23)
        #expect(sizeBytes == all.readableBytes)
    }

    @Test func aPartialTailIsCutWhereverItEnds() throws {
        let first = batch(count: 2, baseOffset: 10)
        let all = joined([first, batch(count: 2, baseOffset: 12)])
        for length in 0..<all.readableBytes {
            let (headers, sizeBytes) = try checkReplicated(
                ByteBuffer(all.readableBytesView[..<length]), expectedOffset: 10)
            let isFirstWhole = length >= first.readableBytes
            #expect(headers.count == (isFirstWhole ? 1 : 0))
            #expect(sizeBytes == (isFirstWhole ? first.readableBytes : 0))
        }
    }

    @Test func compactionGapsAreTakenAndStepsBackAreNot() {
        #expect(code(joined([batch(count: 2, baseOffset: 15), batch(count: 1, baseOffset: 20)])) == nil)
        #expect(code(batch(baseOffset: 9)) == .corruptMessage)
        #expect(code(joined([batch(count: 2, baseOffset: 10), batch(baseOffset: 11)])) == .corruptMessage)
        #expect(code(joined([batch(count: 2, baseOffset: 10), batch(count: 2, baseOffset: 10)])) == .corruptMessage)
    }

    @Test func aWrongCRCMagicLengthOrCountIsRefused() {
        let good = batch(count: 3, baseOffset: 10)
        var flipped = good
        flipped.setInteger(good.readableBytesView[70] ^ 1, at: 70)
        #expect(code(joined([good, flipped])) == .corruptMessage)
        var magic = good
        magic.setInteger(Int8(3), at: 16)
        #expect(code(magic) == .corruptMessage)
        var length = good
        length.setInteger(Int32(48), at: 8)
        #expect(code(length) == .corruptMessage)
        #expect(code(changed(good, at: 23, to: Int32(-1))) == .corruptMessage)
        #expect(code(changed(good, at: 57, to: Int32(4))) == .corruptMessage)
        #expect(code(changed(good, at: 57, to: Int32(-1))) == .corruptMessage)
        #expect(code(changed(good, at: 57, to: Int32(2))) == nil)
        #expect(code(changed(good, at: 0, to: Int64.max)) == .corruptMessage)
    }
}
