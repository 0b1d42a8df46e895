// Every message of the module, at every version: what was written is read back, and nothing is left over.

import Model
import NIOCore
import Testing
import Wire

@Suite struct RoundTripTests {
    @Test(arguments: everyMessage) func everyVersionIsReadBackAsWritten(_ message: MessageCase) throws {
        for version in message.type.versions {
            for seed in 0..<40 { try roundTrip(message.type, version: version, seed: UInt64(seed)) }
        }
    }

    @Test(arguments: everyMessage) func emptyMessagesAreReadBackAsWritten(_ message: MessageCase) throws {
        func check<M: WireMessage>(_: M.Type) throws {
            for version in M.versions {
                var buffer = ByteBuffer()
                wireEncode(M(), version: version, into: &buffer)
                let read = try wireDecodeWhole(M.self, from: &buffer, version: version)
                var again = ByteBuffer()
                wireEncode(read, version: version, into: &again)
                var first = ByteBuffer()
                wireEncode(M(), version: version, into: &first)
                #expect(again == first)
            }
        }
        try check(message.type)
    }

    @Test func theReaderStopsBehindTheMessage() throws {
        var buffer = ByteBuffer(integer: UInt8(7))
        wireEncode(WireFiller.message(MetadataResponse.self, version: 12, seed: 3), version: 12, into: &buffer)
        buffer.writeString("next")
        _ = buffer.readInteger(as: UInt8.self)
        _ = try wireDecode(MetadataResponse.self, from: &buffer, version: 12)
        #expect(buffer.readString(length: buffer.readableBytes) == "next")
    }

    @Test func versionsThatAreNotSpokenAreRefused() {
        var buffer = ByteBuffer(repeating: 0, count: 100)
        #expect(throws: WireError.unsupportedVersion(99)) {
            try wireDecode(ProduceRequest.self, from: &buffer, version: 99)
        }
        #expect(buffer.readableBytes == 100)
    }

    @Test func bytesFieldsAreSlicesOfTheFrame() throws {
        var request = ProduceRequest()
        var topic = ProduceRequest.Topic()
        var partition = ProduceRequest.Partition()
        partition.records = ByteBuffer(repeating: 9, count: 1000)
        topic.partitions = [partition]
        request.topics = [topic]
        var buffer = ByteBuffer()
        wireEncode(request, version: 9, into: &buffer)
        let frame = buffer.withUnsafeReadableBytes { bytes in
            let start = UInt(bitPattern: bytes.baseAddress)
            return start..<start + UInt(bytes.count)
        }
        let read = try wireDecodeWhole(ProduceRequest.self, from: &buffer, version: 9)
        let records = try #require(read.topics[0].partitions[0].records)
        records.withUnsafeReadableBytes { #expect(frame.contains(UInt(bitPattern: $0.baseAddress))) }
    }

    @Test func sharedArraysStayUntouchedByWriting() {
        let message = WireFiller.message(MetadataResponse.self, version: 12, seed: 11)
        let topics = message.topics
        var buffer = ByteBuffer()
        wireEncode(message, version: 12, into: &buffer)
        #expect(topics == message.topics)
        #expect(message == WireFiller.message(MetadataResponse.self, version: 12, seed: 11))
    }

    @Test func anOverlongErrorMessageIsCutAtACharacter() throws {
        var response = FindCoordinatorResponse()
        response.errorMessage = String(repeating: "語", count: 20_000)
        var buffer = ByteBuffer()
        wireEncode(response, version: 2, into: &buffer)
        let read = try wireDecodeWhole(FindCoordinatorResponse.self, from: &buffer, version: 2)
        #expect(read.errorMessage == String(repeating: "語", count: 10_922))
    }

    @Test func nullIsWrittenAsEmptyWhereTheVersionHasNoNull() throws {
        var buffer = ByteBuffer()
        wireEncode(MetadataRequest(), version: 0, into: &buffer)
        #expect(try wireDecodeWhole(MetadataRequest.self, from: &buffer, version: 0).topics == [])
    }

    private func roundTrip<M: WireMessage>(_: M.Type, version: Int16, seed: UInt64) throws {
        let message = WireFiller.message(M.self, version: version, seed: seed)
        // A prefix and a full buffer, so that positions relative to the frame and the second pass are both used.
        var buffer = ByteBufferAllocator().buffer(capacity: seed.isMultiple(of: 2) ? 1 : 4096)
        buffer.writeInteger(UInt8(1))
        wireEncode(message, version: version, into: &buffer)
        _ = buffer.readInteger(as: UInt8.self)
        let read = try wireDecodeWhole(M.self, from: &buffer, version: version)
        #expect(read == message, "version \(version), seed \(seed)")
    }
}
