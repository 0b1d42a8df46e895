// Requests, answers, headers, frames, metadata records and what groups keep and say.

import Metadata
import Model
import NIOCore
import Server
import Wire

/// The largest ratio is an array of structs of a few bytes each: strings of no letters are 16 bytes in memory and one
/// on the wire, and an array with one element has a head of 32. The constant is for the elements that a count of up to
/// 16 may claim without being looked at more closely, and for the sentences of errors.
private let decoding = Bound(perByte: 96, constant: 16 * 1024)

extension Fuzz {
    /// First byte: which API, see `choosing`; second: which version.
    static let requestEntry = Entry(
        name: "request",
        run: { feed in
            var feed = feed
            let type = chosen(feed.byte())
            stable(type, version: version(of: type, feed.byte()), feed)
        },
        seeds: { requestSeeds() })

    /// As `request`, and what the client does with an answer.
    static let responseEntry = Entry(
        name: "response",
        run: { feed in
            var feed = feed
            let type = chosen(feed.byte())
            answered(type, version: version(of: type, feed.byte()), feed)
        },
        seeds: { responseSeeds() })

    /// A whole frame as the broker gets it, without its length.
    static let frameEntry = Entry(
        name: "frame",
        run: { feed in
            var body = feed.rest
            let whole = body.readableBytes
            let decoded = feed.within(decoding, of: whole) { try? RequestHeader.decode(from: &body) }
            guard let header = decoded else { return }
            guard let type = allRequests.types.first(where: { type in api(type) == header.api }) else { return }
            stable(type, version: header.version, feed.holding(body))
            guard versions(type).contains(header.version) else { return }
            var again = ByteBuffer()
            header.encode(into: &again, isFlexible: header.version >= flexibleSince(type))
            let reread = try? RequestHeader.decode(from: &again)
            check(reread == header, "a request header changed: \(header)")
        },
        seeds: { frameSeeds() })

    /// First two bytes: how the stream is cut; the rest is the stream.
    static let splitterEntry = Entry(
        name: "splitter", run: { feed in split(feed) },
        seeds: {
            let stream = frameSeeds().prefix(12).flatMap { seed in bigEndian(Int32(seed.bytes.count)) + seed.bytes }
            let lengths: [Int32] = [0, -1, .max, 4_097, 4_096, 1]
            return [("stream-by-1", [0, 1] + stream), ("stream-by-40", [40, 2] + stream)]
                + lengths.map { ("length\($0)", [255, 3] + bigEndian($0) + [1, 2, 3, 4, 5, 6, 7]) }
        })

    /// Records of the metadata log, one behind the other: a length of one byte, then the record.
    static let metadataRecordsEntry = Entry(
        name: "metadata-records", run: { feed in fold(feed) },
        seeds: { metadataRecordSeeds() })

    /// First byte: 0 a consumer's subscription, 1 an assignment, 2 a record of `__consumer_offsets`, 3 a tombstone
    /// there. Of a record the second byte is the length of its key; what remains is the value.
    static let groupRecordsEntry = Entry(
        name: "group-records", run: { feed in group(feed) }, seeds: { groupRecordSeeds() })
}

// MARK: Messages

private func api(_ type: any WireRequest.Type) -> APIKey { type.api }
private func versions(_ type: any WireMessage.Type) -> ClosedRange<Int16> { type.versions }
private func flexibleSince(_ type: any WireMessage.Type) -> Int16 { type.flexibleSince }

/// The byte that chooses an API: its key. Our own keys have low bytes that Kafka's have too, and count from 0xE0.
func choosing(_ api: APIKey) -> UInt8 {
    UInt8(truncatingIfNeeded: api.rawValue < 10_000 ? api.rawValue : api.rawValue - 10_000 + 0xE0)
}

/// By the key, so that inputs keep their meaning when APIs are added; other numbers choose by place.
func chosen(_ byte: Int) -> any WireRequest.Type {
    let types = allRequests.types
    return types.first { type in Int(choosing(type.api)) == byte } ?? types[byte % types.count]
}

private func version(of type: any WireMessage.Type, _ byte: Int) -> Int16 {
    type.versions.lowerBound + Int16(byte % type.versions.count)
}

/// Decodes, and where that succeeds: encodes, decodes again, and both must be equal.
private func stable<M: WireMessage>(_ type: M.Type, version: Int16, _ feed: Feed) {
    var body = feed.rest
    let count = body.readableBytes
    let decoded = feed.within(decoding, of: count) { try? wireDecode(M.self, from: &body, version: version) }
    guard let message = decoded else { return }
    check(body.readableBytes <= count, "\(M.self) v\(version) read past its end")
    let first = encoded(message, version)
    var copy = first
    let decodedAgain = try? wireDecodeWhole(M.self, from: &copy, version: version)
    guard let again = decodedAgain else { broken("\(M.self) v\(version): what was encoded cannot be read") }
    check(again == message, "\(M.self) v\(version) changed on its way:\n\(message)\n\(again)")
    check(encoded(again, version) == first, "\(M.self) v\(version) has two encodings")
}

private func encoded<M: WireMessage>(_ message: M, _ version: Int16) -> ByteBuffer {
    var buffer = ByteBuffer()
    wireEncode(message, version: version, into: &buffer)
    return buffer
}

/// An answer as the client reads it: header, then a body that must fill the frame.
private func answered<M: WireRequest>(_ type: M.Type, version: Int16, _ feed: Feed) {
    var frame = feed.rest
    let count = frame.readableBytes
    let decoded = feed.within(decoding, of: count) { try? decodeResponse(of: M.self, version: version, from: &frame) }
    guard let (correlationID, response) = decoded else { return }
    var again = encodeResponseFrame(response, to: M.self, version: version, correlationID: correlationID)
    again.moveReaderIndex(forwardBy: 4)
    let reread = try? decodeResponse(of: M.self, version: version, from: &again)
    check(reread?.correlationID == correlationID && reread?.response == response, "\(M.self)'s answer changed")
}

// MARK: Frames

private let frameBytesMax = 4_096
/// A frame that comes byte by byte is gathered in two small buffers of their own, its length and its body, and each
/// read keeps a place in the queue.
private let splitting = Bound(perByte: 96, constant: 8 * 1024)

private func split(_ feed: Feed) {
    var feed = feed
    let pieceMax = feed.byte() + 1
    var random = SeededRandom(seed: UInt64(feed.byte()))
    let stream = feed.rest
    var expected: [ByteBuffer] = []
    let isBad = cut(stream, into: &expected)
    var frames: [ByteBuffer] = []
    frames.reserveCapacity(expected.count + 1)
    var splitter = FrameSplitter(frameBytesMax: frameBytesMax)
    var failed = false
    var rest = stream
    feed.within(splitting, of: stream.readableBytes) {
        while !failed, rest.readableBytes > 0 {
            let count = min(rest.readableBytes, 1 + Int(random.below(Int64(pieceMax))))
            guard let piece = rest.readSlice(length: count) else { break }
            splitter.receive(piece)
            // Sometimes two reads come before anyone asks.
            if random.oneIn(4) { continue }
            failed = !drain(&splitter, into: &frames)
        }
        if !failed { failed = !drain(&splitter, into: &frames) }
    }
    check(frames == expected, "the stream was cut otherwise: \(frames.count) frames of \(expected.count)")
    check(failed == isBad, "a bad length was \(isBad ? "let through" : "seen where there is none")")
    check(splitter.reservedBytes <= max(64, 2 * splitter.gatheredBytes), "more was reserved than has come")
}

/// Answers false at a bad length.
private func drain(_ splitter: inout FrameSplitter, into frames: inout [ByteBuffer]) -> Bool {
    do {
        while let frame = try splitter.next() { frames.append(frame) }
        return true
    } catch {
        return false
    }
}

/// The same in the plainest way. Answers whether a bad length ends it.
private func cut(_ stream: ByteBuffer, into frames: inout [ByteBuffer]) -> Bool {
    var stream = stream
    while let length = stream.getInteger(at: stream.readerIndex, as: Int32.self) {
        if length <= 0 || length > frameBytesMax { return true }
        guard stream.readableBytes >= 4 + Int(length) else { return false }
        stream.moveReaderIndex(forwardBy: 4)
        if let frame = stream.readSlice(length: Int(length)) { frames.append(frame) }
    }
    return false
}

// MARK: Metadata records

/// A record may put a broker or a topic with its name in maps that double.
private let folding = Bound(perByte: 256, constant: 64 * 1024)

private func fold(_ feed: Feed) {
    var rest = feed.rest
    var image = MetadataImage.empty
    var changes = ImageChanges()
    var records: [MetadataRecord] = []
    while let length = rest.readInteger(as: UInt8.self), let bytes = rest.readSlice(length: Int(length)) {
        let decoded = feed.within(decoding, of: bytes.readableBytes) { try? MetadataRecord.decode(bytes) }
        guard let record = decoded else { continue }
        let again = try? MetadataRecord.decode(record.encode())
        check(again == record, "a metadata record changed: \(record)")
        records.append(record)
    }
    feed.within(folding, of: feed.rest.readableBytes) {
        for (offset, record) in records.enumerated() { image.apply(record, at: Offset(offset), changes: &changes) }
    }
    // A snapshot is the image as records: read again they must give the same image.
    var copy = MetadataImage.empty
    for record in image.records() {
        let reread = try? MetadataRecord.decode(record.encode())
        guard let reread else { broken("a record of a snapshot cannot be read: \(record)") }
        copy.apply(reread, at: image.lastOffset, changes: &changes)
    }
    copy.lastOffset = image.lastOffset
    check(copy == image, "the image changed on its way through a snapshot")
}

// MARK: Groups

private func group(_ feed: Feed) {
    var feed = feed
    let kind = feed.byte() % 4
    let count = feed.rest.readableBytes
    switch kind {
    case 0:
        let blob = feed.rest
        let decoded = feed.within(decoding, of: count) { try? ConsumerProtocolSubscription.decode(blob) }
        guard let subscription = decoded else { return }
        let again = try? ConsumerProtocolSubscription.decode(subscription.encode())
        check(again == subscription, "a subscription changed: \(subscription)")
    case 1:
        let blob = feed.rest
        let decoded = feed.within(decoding, of: count) { try? ConsumerProtocolAssignment.decode(blob) }
        guard let assignment = decoded else { return }
        let again = try? ConsumerProtocolAssignment.decode(assignment.encode())
        check(again == assignment, "an assignment changed: \(assignment)")
    default:
        let length = feed.byte()
        var value = feed.rest
        let key = value.readSlice(length: min(length, value.readableBytes)) ?? ByteBuffer()
        let kept = kind == 2 ? value : nil
        let decoded = feed.within(decoding, of: count) { try? GroupRecord.decode(key: key, value: kept) }
        guard let record = decoded else { return }
        let (keyAgain, valueAgain) = record.encode()
        let again = try? GroupRecord.decode(key: keyAgain, value: valueAgain)
        check(again == record, "a group's record changed: \(record)")
        check((valueAgain == nil) == (kept == nil), "a tombstone came or went: \(record)")
    }
}
