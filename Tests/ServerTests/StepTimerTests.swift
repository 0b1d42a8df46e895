// The timer of a machine that is never through: sockets are served between its steps.

import Model
import NIOCore
import NIOPosix
import Server
import Testing

@Suite struct StepTimerTests {
    /// Due at once, always, until it has had `stepsMax` steps.
    private final class Busy {
        static let stepsMax = 1_000_000
        var steps = 0
        var timer: StepTimer?

        func start(on loop: any EventLoop) {
            timer = StepTimer(
                loop: loop, nextDeadline: { [self] in steps < Busy.stepsMax ? .zero : .distantFuture },
                fire: { [self] in
                    steps += 1
                    timer?.arm()
                    if steps == 3 { third?.succeed() }
                })
            timer?.arm()
        }

        /// Fulfilled by its third step.
        var third: EventLoopPromise<Void>?

        /// No more steps; how many there were.
        func end() -> Int {
            defer { steps = Busy.stepsMax }
            return steps
        }
    }

    private final class Heard: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        let promise: EventLoopPromise<Void>
        init(_ promise: EventLoopPromise<Void>) { self.promise = promise }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) { promise.succeed() }
    }

    @Test func whatIsDueAgainIsSteppedAgain() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let loop = group.next()
        try loop.submit {
            let busy = Busy()
            let third = loop.makePromise(of: Void.self)
            busy.third = third
            busy.start(on: loop)
            let bound = NIOLoopBound(busy, eventLoop: loop)
            return third.futureResult.map { #expect(bound.value.end() >= 3) }
        }.flatMap { $0 }.wait()
    }

    @Test func socketsAreServedBetweenStepsThatAreAllDueAtOnce() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let loop = group.next()
        let heard = loop.makePromise(of: Void.self)
        let port = try freePort()
        let listener = try ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Heard(heard))
                }
            }
            .bind(host: "127.0.0.1", port: Int(port)).wait()
        let client = try ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: Int(port)).wait()
        let steps = loop.submit {
            let busy = Busy()
            busy.start(on: loop)
            let bound = NIOLoopBound(busy, eventLoop: loop)
            return heard.futureResult.map { bound.value.end() }
        }.flatMap { $0 }
        try client.writeAndFlush(ByteBuffer(string: "here")).wait()
        #expect(try steps.wait() < Busy.stepsMax)
        try client.close().wait()
        try listener.close().wait()
    }
}
