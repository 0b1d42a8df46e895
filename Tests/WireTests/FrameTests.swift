// Headers and frames: which header a version has, ApiVersions' exceptions, and Fetch answers with gaps for records.

import Model
import NIOCore
import Testing
import Wire

@Suite struct FrameTests {
    @Test func aFlexibleRequestHasHeaderVersion2WithAClassicClientID() throws {
        var frame = encodeRequestFrame(ApiVersionsRequest(), version: 3, correlationID: 7, clientID: "me")
        let expected: [UInt8] = [0, 0, 0, 16, 0, 18, 0, 3, 0, 0, 0, 7, 0, 2, 0x6D, 0x65, 0, 1, 1, 0]
        // Length: 8 of key, version and correlation id, 4 of client id, 1 of tags, 3 of body.
        #expect(Array(frame.readableBytesView) == expected)
        frame.moveReaderIndex(forwardBy: 4)
        let header = try RequestHeader.decode(from: &frame)
        #expect(header == RequestHeader(api: .apiVersions, version: 3, correlationID: 7, clientID: "me"))
        #expect(try wireDecodeWhole(ApiVersionsRequest.self, from: &frame, version: 3) == ApiVersionsRequest())
    }

    @Test func aClassicRequestHasHeaderVersion1() throws {
        var frame = encodeRequestFrame(ApiVersionsRequest(), version: 0, correlationID: 1, clientID: nil)
        #expect(Array(frame.readableBytesView) == [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF])
        frame.moveReaderIndex(forwardBy: 4)
        #expect(try RequestHeader.decode(from: &frame).clientID == nil)
    }

    @Test func anApiVersionsRequestOfTheFutureIsStillNamed() throws {
        var frame = ByteBuffer(bytes: [0, 18, 0x03, 0xE8, 0, 0, 0, 5, 0xFF, 0xFE, 1])
        let header = try RequestHeader.decode(from: &frame)
        #expect(header == RequestHeader(api: .apiVersions, version: 1000, correlationID: 5))
    }

    @Test func anUnknownAPIIsStillNamed() throws {
        var frame = ByteBuffer(bytes: [0x03, 0xE8, 0, 0, 0, 0, 0, 5])
        let header = try RequestHeader.decode(from: &frame)
        #expect(header.api == APIKey(rawValue: 1000))
        #expect(header.api.description == "Unknown(1000)")
    }

    @Test func unknownHeaderTagsAreSkippedAndShortHeadersRefused() throws {
        let whole: [UInt8] = [0, 3, 0, 12, 0, 0, 0, 1, 0, 1, 0x63, 1, 9, 2, 0, 0]
        var frame = ByteBuffer(bytes: whole + [0xEE])
        #expect(try RequestHeader.decode(from: &frame).clientID == "c")
        #expect(frame.readableBytes == 1)
        for length in 0..<whole.count {
            var part = ByteBuffer(bytes: whole.prefix(length))
            #expect(throws: WireError.truncated) { try RequestHeader.decode(from: &part) }
        }
    }

    @Test func everyAnswerIsReadBack() throws {
        func check<M: WireRequest>(_: M.Type) throws {
            for version in M.versions {
                let answer = WireFiller.message(M.Response.self, version: version, seed: 1)
                var frame = encodeResponseFrame(answer, to: M.self, version: version, correlationID: 99)
                #expect(frame.readInteger(as: Int32.self) == Int32(frame.readableBytes))
                let (correlationID, read) = try decodeResponse(of: M.self, version: version, from: &frame)
                #expect(correlationID == 99)
                #expect(read == answer)
            }
        }
        for request in allRequests.types { try check(request) }
    }

    @Test func apiVersionsAnswersNeverHaveAFlexibleHeader() {
        let frame = encodeResponseFrame(
            ApiVersionsResponse(), to: ApiVersionsRequest.self, version: 3, correlationID: 1)
        #expect(Array(frame.readableBytesView) == [0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0])
    }

    @Test(arguments: [4, 11, 12, 13, 17] as [Int16]) func recordsAreSplicedIntoTheGaps(version: Int16) throws {
        let records = [100, 0, 70_000].map { ByteBuffer(repeating: UInt8(truncatingIfNeeded: $0), count: $0) }
        var whole = FetchResponse()
        var apart = FetchResponse()
        for group in [records[0..<1], records[1..<3]] {
            var topic = FetchResponse.Topic()
            if version < 13 { topic.name = "topic" }
            var emptied = topic
            for buffer in group {
                var partition = FetchResponse.Partition()
                if version >= 12 { partition.currentLeader.leaderID = 3 }
                partition.records = buffer
                topic.partitions.append(partition)
                partition.records = nil
                partition.recordsLength = buffer.readableBytes
                emptied.partitions.append(partition)
            }
            whole.topics.append(topic)
            apart.topics.append(emptied)
        }
        let (head, gaps) = encodeFetchResponseFrame(apart, version: version, correlationID: 4)
        #expect(gaps.count == 2)
        var spliced = ByteBuffer()
        var from = 0
        for (gap, buffer) in zip(gaps, records.filter { $0.readableBytes > 0 }) {
            spliced.writeBytes(head.getBytes(at: from, length: gap - from) ?? [])
            spliced.writeImmutableBuffer(buffer)
            from = gap
        }
        spliced.writeBytes(head.getBytes(at: from, length: head.readableBytes - from) ?? [])
        #expect(spliced == encodeResponseFrame(whole, to: FetchRequest.self, version: version, correlationID: 4))
        _ = spliced.readInteger(as: Int32.self)
        #expect(try decodeResponse(of: FetchRequest.self, version: version, from: &spliced).response == whole)
    }

    @Test func keysAreUniqueAndNamed() {
        let keys = allRequests.types.map { $0.api }
        #expect(keys == keys.sorted())
        #expect(Set(keys).count == keys.count)
        for type in allRequests.types {
            #expect("\(type)".lowercased() == "\(type.api)Request".lowercased())
            #expect(allRequests.flexibleSince(type.api) == type.flexibleSince)
        }
        #expect(allRequests.flexibleSince(.shareFetch) == nil)
    }
}
