// One accepted connection: its frames in, its answers out.

import Broker
import Model
import NIOCore
import Storage

/// A synchronous channel handler on the shard's loop. It knows nothing of requests: whole frames go to the shard, and
/// what the shard answers is written in order. The last piece of what is answered is held back until the turn ends, so
/// that one promise, on that piece, tells when all has left.
final class Connection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = IOData

    private struct PauseReasons: OptionSet {
        let rawValue: UInt8

        static let shard = PauseReasons(rawValue: 1)
        static let budget = PauseReasons(rawValue: 2)
        static let closing = PauseReasons(rawValue: 4)
    }

    private struct Outgoing {
        var bytes: IOData
        /// Kept alive until the piece has left.
        var file: OpenFile?
    }

    /// A part of a file that was answered and has not left.
    private struct LiveSlice {
        var file: FileHandle
        var end: Int64
    }

    let id: ConnectionID
    private let shard: ShardRunner
    private let settings: ConnectionSettings
    private let budget: FrameBudget
    private var splitter: FrameSplitter
    private var lowWater = ReceiveLowWater()
    private var context: ChannelHandlerContext?
    private var paused: PauseReasons = []
    private var lastReadAt = NodeClock.now
    private var closingSince: Instant?
    private var held: Outgoing?
    private var liveSlices: CircularBuffer<LiveSlice> = []
    /// Counts flushes, so that only the last one's end says that all has left.
    private var flushCount: UInt64 = 0
    private var budgetedBytes = 0
    private var isOpened = false
    /// Set while the shard's list of connections to flush names this one.
    var isMarkedForFlush = false

    init(id: ConnectionID, shard: ShardRunner, settings: ConnectionSettings, budget: FrameBudget) {
        self.id = id
        self.shard = shard
        self.settings = settings
        self.budget = budget
        splitter = FrameSplitter(frameBytesMax: settings.frameBytesMax)
    }

    // MARK: From the channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { opened(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        shard.left()
    }

    func channelActive(context: ChannelHandlerContext) {
        opened(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastReadAt = NodeClock.now
        splitter.receive(unwrapInboundIn(data))
        handOutFrames()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if paused.isEmpty { lowWater.update(context.channel, missingBytes: splitter.missingBytes) }
        shard.finishTurn()
    }

    func channelInactive(context: ChannelHandlerContext) {
        account(for: 0)
        shard.closed(self)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Whatever it was, the bytes behind it cannot be trusted to be in order.
        context.close(promise: nil)
        shard.finishTurn()
    }

    private func opened(_ context: ChannelHandlerContext) {
        guard !isOpened else { return }
        isOpened = true
        shard.opened(self, client: context.remoteAddress.map(Self.name(of:)) ?? "unknown")
    }

    private static func name(of address: SocketAddress) -> String {
        "\(address.ipAddress ?? "unix"):\(address.port ?? 0)"
    }

    // MARK: Frames in

    private func handOutFrames() {
        while paused.isEmpty {
            do throws(BadFrameLength) {
                guard let frame = try splitter.next() else { break }
                shard.take(.frameReceived(id, frame))
            } catch {
                reject(.badLength(error.length, firstBytes: UInt32(bitPattern: error.length)))
                break
            }
        }
        account(for: splitter.gatheredBytes)
        if splitter.isMidFrame, paused.isEmpty, !shard.mayGoOn(self) { pause(.budget) }
    }

    private func account(for bytes: Int) {
        guard bytes != budgetedBytes else { return }
        budget.change(by: bytes - budgetedBytes)
        let isFinished = bytes < budgetedBytes
        budgetedBytes = bytes
        if isFinished { shard.frameFinished(self) }
    }

    private func reject(_ fault: FrameFault) {
        shard.take(.frameRejected(id, fault))
        closeAfterWrites()
    }

    /// Called now and then: notices peers that went silent.
    func check(at now: Instant) {
        if let closingSince {
            if now.milliseconds(since: closingSince) >= settings.stallMs { closeNow() }
            return
        }
        guard paused.isEmpty else { return }
        let silentMs = now.milliseconds(since: lastReadAt)
        if silentMs >= settings.stallMs / 2, let channel = context?.channel { lowWater.reset(channel) }
        if splitter.isMidFrame, silentMs >= settings.stallMs {
            reject(.stalled)
        } else if silentMs >= settings.idleMs {
            reject(.idle)
        }
    }

    // MARK: Pausing

    func pauseReading() { pause(.shard) }

    /// What was read before the pause is handed out when the running step has ended.
    func resumeReading() { resume(.shard) }

    func resumeWithinBudget() { resume(.budget) }

    private func pause(_ reason: PauseReasons) {
        if paused.isEmpty { setAutoRead(false) }
        paused.insert(reason)
    }

    private func resume(_ reason: PauseReasons) {
        guard paused.contains(reason) else { return }
        paused.remove(reason)
        if paused.isEmpty { shard.willContinue(self) }
    }

    func continueReading() {
        guard paused.isEmpty, context != nil else { return }
        // The time it was paused is not the peer's silence.
        lastReadAt = NodeClock.now
        handOutFrames()
        if paused.isEmpty { setAutoRead(true) }
    }

    private func setAutoRead(_ isOn: Bool) {
        // Fails only on a closed channel, which reads nothing anyway.
        try? context?.channel.syncOptions?.setOption(.autoRead, value: isOn)
    }

    // MARK: Answers out

    /// Records up to this many bytes leave in one write with what stands around them: `sendfile` would make three
    /// writes of an answer, and wake the reader for each.
    private static let copiedBytesMax = 16 << 10

    func respond(_ pieces: [OutboundPiece], disk: PosixDisk) throws(DiskError) {
        guard closingSince == nil else { return }
        for piece in pieces {
            switch piece {
            case .bytes(let bytes):
                writeNext(Outgoing(bytes: .byteBuffer(bytes)))
            case .file(let slice):
                if slice.length == 0 { continue }
                let file = try disk.openFile(for: slice)
                if slice.length <= Self.copiedBytesMax {
                    let bytes = try disk.read(slice.file, at: slice.position, length: slice.length)
                    writeNext(Outgoing(bytes: .byteBuffer(bytes)))
                    continue
                }
                let region = FileRegion(
                    fileHandle: file.region, readerIndex: Int(slice.position),
                    endIndex: Int(slice.position) + slice.length)
                liveSlices.append(LiveSlice(file: slice.file, end: slice.position + Int64(slice.length)))
                writeNext(Outgoing(bytes: .fileRegion(region), file: file))
            }
        }
    }

    private func writeNext(_ piece: Outgoing) {
        writeHeld(promise: nil)
        held = piece
    }

    private func writeHeld(promise: EventLoopPromise<Void>?) {
        guard let piece = held, let context else {
            promise?.succeed()
            return
        }
        held = nil
        guard let file = piece.file else {
            context.write(wrapOutboundOut(piece.bytes), promise: promise)
            return
        }
        let leaving = promise ?? context.eventLoop.makePromise(of: Void.self)
        leaving.futureResult.assumeIsolated().whenComplete { _ in
            withExtendedLifetime(file) { self.sliceLeft() }
        }
        context.write(wrapOutboundOut(piece.bytes), promise: leaving)
    }

    private func sliceLeft() {
        _ = liveSlices.popFirst()
    }

    /// Ends the turn for this connection: what was answered goes to the socket.
    func flush() {
        guard let context else { return }
        if held != nil || closingSince != nil {
            flushCount += 1
            let number = flushCount
            let promise = context.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenComplete { result in
                self.flushEnded(number, result)
            }
            if held == nil { held = Outgoing(bytes: .byteBuffer(ByteBuffer())) }
            writeHeld(promise: promise)
        }
        context.flush()
    }

    private func flushEnded(_ number: UInt64, _ result: Result<Void, any Error>) {
        guard case .success = result, number == flushCount, held == nil else { return }
        if closingSince != nil {
            closeNow()
        } else {
            shard.drained(self)
        }
    }

    /// The file gets shorter: an answer whose bytes would change under way must not go on.
    func willTruncate(_ file: FileHandle, to sizeBytes: Int64) {
        if liveSlices.contains(where: { $0.file == file && $0.end > sizeBytes }) { closeNow() }
    }

    // MARK: The end

    func closeAfterWrites() {
        guard closingSince == nil else { return }
        closingSince = NodeClock.now
        pause(.closing)
        shard.willFlush(self)
    }

    func closeNow() {
        context?.close(promise: nil)
    }
}
