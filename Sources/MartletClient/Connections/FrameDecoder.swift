// Cuts the bytes of a connection into Kafka frames: a four-byte length, then that many bytes.

import Model
import NIOCore

struct FrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    struct BadLength: Error { let length: Int32 }

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: Int32.self) else { return .needMoreData }
        guard length >= 4, Int(length) <= Limits.frameBytesMax else { throw BadLength(length: length) }
        guard buffer.readableBytes >= 4 + Int(length) else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: 4)
        if let frame = buffer.readSlice(length: Int(length)) { context.fireChannelRead(wrapInboundOut(frame)) }
        return .continue
    }
}
