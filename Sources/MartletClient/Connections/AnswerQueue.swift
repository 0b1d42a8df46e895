// Pairs answers with requests on one connection. Kafka answers in order, so a queue is enough; the ids are checked.

import Model
import NIOCore

struct OutboundRequest: Sendable {
    var frame: ByteBuffer
    var correlationID: Int32
    /// Gets the answer's frame. Nil for Produce with acks=0, which has no answer and takes no place in the order.
    var answer: EventLoopPromise<ByteBuffer>?
}

/// Sent down the pipeline when an answer did not come in time.
struct LateAnswer: Sendable {
    var answer: EventLoopPromise<ByteBuffer>
    var error: ClientError
}

final class AnswerQueue: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = OutboundRequest
    typealias OutboundOut = ByteBuffer

    private let endpoint: Endpoint
    private var waiting = CircularBuffer<(correlationID: Int32, answer: EventLoopPromise<ByteBuffer>)>()
    private var failure: ClientError?
    /// The peer has answered once as a Kafka node does. What goes wrong later is the connection's fault, and another
    /// may be tried.
    private var hasAnswered = false

    init(endpoint: Endpoint) { self.endpoint = endpoint }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let request = unwrapOutboundIn(data)
        if let answer = request.answer {
            guard failure == nil, context.channel.isActive else {
                answer.fail(failure ?? .connectionLost(endpoint))
                promise?.fail(ClientError.connectionLost(endpoint))
                return
            }
            waiting.append((request.correlationID, answer))
        }
        context.write(wrapOutboundOut(request.frame), promise: promise)
    }

    /// Whose answer is late is told so; the connection is refused to all others before anyone can wake up and use it.
    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard let late = event as? LateAnswer else {
            return context.triggerUserOutboundEvent(event, promise: promise)
        }
        failure = failure ?? .connectionLost(endpoint)
        late.answer.fail(late.error)
        fail(context, .connectionLost(endpoint))
        promise?.succeed()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        let correlationID = frame.getInteger(at: frame.readerIndex, as: Int32.self)
        guard let next = waiting.popFirst() else {
            return fail(context, unreadable("an answer that nobody asked for"))
        }
        guard correlationID == next.correlationID else {
            let error = unreadable("an answer to another request")
            next.answer.fail(error)
            return fail(context, error)
        }
        hasAnswered = true
        next.answer.succeed(frame)
    }

    private func unreadable(_ reason: String) -> ClientError {
        hasAnswered ? .connectionLost(endpoint) : .malformedAnswer("a request", endpoint, reason: reason)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is FrameDecoder.BadLength {
            fail(context, unreadable("a frame of an impossible length"))
        } else {
            fail(context, .connectionLost(endpoint))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        failAll(.connectionLost(endpoint))
        context.fireChannelInactive()
    }

    private func fail(_ context: ChannelHandlerContext, _ error: ClientError) {
        failAll(error)
        context.close(promise: nil)
    }

    private func failAll(_ error: ClientError) {
        failure = failure ?? error
        while let next = waiting.popFirst() { next.answer.fail(error) }
    }
}
