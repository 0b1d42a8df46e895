// Request and response headers and whole frames. Header versions follow from the body's: flexible bodies have headers
// with a tag buffer, except that answers to ApiVersions never do, because their reader does not know yet what we speak.

import NIOCore

/// What stands before every request: header v1, or v2 when the request's version is flexible.
package struct RequestHeader: Equatable, Sendable {
    package var api: APIKey
    package var version: Int16
    package var correlationID: Int32
    package var clientID: String?

    package init(api: APIKey, version: Int16, correlationID: Int32, clientID: String? = nil) {
        self.api = api
        self.version = version
        self.correlationID = correlationID
        self.clientID = clientID
    }

    /// Reads a header from a frame without its length, and leaves the body. `flexibleSince` answers nil for an API that
    /// is not served: then only key, version and correlation id are read. The same holds for an ApiVersions request of
    /// an unknown version, which must be answered whatever follows (KIP-511).
    package static func decode(
        from frame: inout ByteBuffer, flexibleSince: (APIKey) -> Int16? = { allRequests.flexibleSince($0) }
    ) throws(WireError) -> RequestHeader {
        guard let key = frame.getInteger(at: frame.readerIndex, as: Int16.self),
            let version = frame.getInteger(at: frame.readerIndex + 2, as: Int16.self),
            let correlationID = frame.getInteger(at: frame.readerIndex + 4, as: Int32.self)
        else { throw .truncated }
        frame.moveReaderIndex(forwardBy: 8)
        var header = RequestHeader(api: APIKey(rawValue: key), version: version, correlationID: correlationID)
        let isStrange = header.api == .apiVersions && !ApiVersionsRequest.versions.contains(version)
        guard !isStrange, let flexibleSince = flexibleSince(header.api) else { return header }
        // The client id keeps its two-byte length in v2, so the header's own fields are never "flexible".
        let rest =
            version >= flexibleSince
            ? try wireDecode(RequestHeaderRest.self, from: &frame, version: 2)
            : try wireDecode(RequestHeaderRest.self, from: &frame, version: 1)
        header.clientID = rest.clientID
        return header
    }

    package func encode(into buffer: inout ByteBuffer, isFlexible: Bool) {
        buffer.writeInteger(api.rawValue)
        buffer.writeInteger(version)
        buffer.writeInteger(correlationID)
        wireEncode(RequestHeaderRest(clientID: clientID), version: isFlexible ? 2 : 1, into: &buffer)
    }
}

/// The header after the correlation id. The client id is a non-compact string in both versions, so it has a type of
/// its own.
struct RequestHeaderRest: WireMessage {
    static let versions: ClosedRange<Int16> = 1...2
    static let flexibleSince: Int16 = 2
    var client = ClassicString()
    init() {}
    init(clientID: String?) { client.text = clientID }
    var clientID: String? { client.text }
    mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&client, "clientID")
        try w.end()
    }
}

/// A nullable string with a two-byte length in every version.
struct ClassicString: WireField {
    var text: String?
    static var blank: ClassicString { ClassicString() }
    static func showType(in printer: inout WirePrinter) { printer.put("string?") }
    mutating func read(from reader: inout WireReader) throws(WireError) {
        let length = Int(try reader.readInteger(Int16.self))
        guard length >= -1 else { throw .invalidLength }
        text = length < 0 ? nil : try reader.readString(length: length)
    }
    func write(to writer: inout WireWriter) {
        guard let text else { return writer.writeInteger(Int16(-1)) }
        let bytes = Array(text.utf8.prefix(Int(Int16.max)))
        writer.writeInteger(Int16(bytes.count))
        bytes.withUnsafeBytes { writer.writeRaw($0) }
    }
    mutating func fill(from filler: inout WireFiller) { text = filler.string() }
    func show(in printer: inout WirePrinter) { printer.put(text?.debugDescription ?? "null") }
}

// MARK: Frames

/// A request as it goes out: length, header, body.
package func encodeRequestFrame<M: WireRequest>(
    _ message: M, version: Int16, correlationID: Int32, clientID: String?
) -> ByteBuffer {
    var frame = ByteBufferAllocator().buffer(capacity: 256)
    frame.writeInteger(Int32(0))
    let header = RequestHeader(api: M.api, version: version, correlationID: correlationID, clientID: clientID)
    header.encode(into: &frame, isFlexible: version >= M.flexibleSince)
    wireEncode(message, version: version, into: &frame)
    frame.setInteger(Int32(frame.readableBytes - 4), at: frame.readerIndex)
    return frame
}

/// An answer as it goes out: length, header, body. `request` says whose answer it is.
package func encodeResponseFrame<M: WireRequest>(
    _ message: M.Response, to request: M.Type, version: Int16, correlationID: Int32
) -> ByteBuffer {
    encodeResponse(message, to: request, version: version, correlationID: correlationID).frame
}

/// A Fetch answer without the records of partitions that have `recordsLength`. `gaps` are the positions in `head`,
/// counted from its first byte, where the records of the partitions with `recordsLength > 0` are to be spliced in, in
/// order. The frame's length counts them.
package func encodeFetchResponseFrame(
    _ response: FetchResponse, version: Int16, correlationID: Int32
) -> (head: ByteBuffer, gaps: [Int]) {
    let encoded = encodeResponse(response, to: FetchRequest.self, version: version, correlationID: correlationID)
    return (encoded.frame, encoded.gaps)
}

private func encodeResponse<M: WireRequest>(
    _ message: M.Response, to request: M.Type, version: Int16, correlationID: Int32
) -> (frame: ByteBuffer, gaps: [Int]) {
    // A kilobyte holds most answers, so that they are walked once; malloc's fast path ends there.
    var frame = ByteBufferAllocator().buffer(capacity: 1_024)
    frame.writeInteger(Int32(0))
    frame.writeInteger(correlationID)
    if hasFlexibleHeader(M.self, version: version) { frame.writeInteger(UInt8(0)) }
    let bodyAt = frame.writerIndex
    var gaps = message.encodeSelf(into: &frame, version: version)
    let length = frame.readableBytes - 4 + gaps.sizeBytes
    precondition(length <= Int(Int32.max), "a frame above int32")
    frame.setInteger(Int32(length), at: frame.readerIndex)
    for index in gaps.positions.indices { gaps.positions[index] += bodyAt }
    return (frame, gaps.positions)
}

/// Reads an answer from a frame without its length. The whole frame must be used up.
package func decodeResponse<M: WireRequest>(
    of request: M.Type, version: Int16, from frame: inout ByteBuffer
) throws(WireError) -> (correlationID: Int32, response: M.Response) {
    guard let correlationID = frame.readInteger(as: Int32.self) else { throw .truncated }
    if hasFlexibleHeader(M.self, version: version) {
        _ = try wireDecode(ResponseHeaderTags.self, from: &frame, version: 1)
    }
    return (correlationID, try wireDecodeWhole(M.Response.self, from: &frame, version: version))
}

/// The tag buffer of response header v1; nothing is known to stand in it.
struct ResponseHeaderTags: WireMessage {
    static let versions: ClosedRange<Int16> = 1...1
    static let flexibleSince: Int16 = 1
    mutating func walk<W: Walker>(_ w: inout W) throws(WireError) { try w.end() }
}

private func hasFlexibleHeader<M: WireRequest>(_: M.Type, version: Int16) -> Bool {
    version >= M.Response.flexibleSince && M.api != .apiVersions
}
