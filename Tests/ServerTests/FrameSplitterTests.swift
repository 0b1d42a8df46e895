// Frames out of a stream, however the stream is cut.

import Broker
import NIOCore
import Server
import Testing

struct FrameSplitterTests {
    private static let texts = ["a", "0123456789", "xy"]
    private static let stream = texts.flatMap(framed)

    private func frames(_ parts: [ArraySlice<UInt8>]) throws -> [String] {
        var splitter = FrameSplitter(frameBytesMax: 10)
        var found: [String] = []
        for part in parts {
            splitter.receive(ByteBuffer(bytes: part))
            while let frame = try splitter.next() { found.append(String(buffer: frame)) }
        }
        #expect(!splitter.isMidFrame)
        #expect(splitter.gatheredBytes == 0)
        return found
    }

    @Test func everyCutInThreeGivesTheSameFrames() throws {
        let stream = Self.stream
        for first in 0...stream.count {
            for second in first...stream.count {
                #expect(try frames([stream[..<first], stream[first..<second], stream[second...]]) == Self.texts)
            }
        }
        #expect(try frames(stream.indices.map { stream[$0...$0] }) == Self.texts)
    }

    @Test func readsThatWaitAreHandedOutInOrder() throws {
        var splitter = FrameSplitter(frameBytesMax: 10)
        for byte in Self.stream { splitter.receive(ByteBuffer(bytes: [byte])) }
        for text in Self.texts {
            let frame = try splitter.next()
            #expect(frame == ByteBuffer(string: text))
        }
        let end = try splitter.next()
        #expect(end == nil)
    }

    @Test(arguments: [0, -1, 11, Int32.max, Int32.min, 0x1603_0102])
    func aBadLengthIsFoundHoweverItIsCut(length: Int32) throws {
        let prefix = withUnsafeBytes(of: length.bigEndian, Array.init)
        for cut in 0...4 {
            var splitter = FrameSplitter(frameBytesMax: 10)
            splitter.receive(ByteBuffer(bytes: prefix[..<cut]))
            if cut < 4 { #expect(try splitter.next() == nil) }
            splitter.receive(ByteBuffer(bytes: prefix[cut...]))
            #expect(throws: BadFrameLength.self) { _ = try splitter.next() }
        }
    }

    @Test func aFrameWithinOneReadIsNotCopied() throws {
        var splitter = FrameSplitter(frameBytesMax: 1 << 20)
        let read = ByteBuffer(bytes: framed(String(repeating: "x", count: 70_000)) + framed("yz"))
        splitter.receive(read)
        let frame = try #require(try splitter.next())
        let start = read.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
        let inside = frame.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
        #expect(inside == start + 4)
    }

    @Test func roomGrowsWithWhatArrivedAndNotWithTheLength() throws {
        var splitter = FrameSplitter(frameBytesMax: 100 << 20)
        splitter.receive(ByteBuffer(integer: Int32(100 << 20)))
        #expect(try splitter.next() == nil)
        #expect(splitter.reservedBytes < 100)
        for step in 1...40 {
            splitter.receive(ByteBuffer(repeating: 7, count: 50_000))
            #expect(try splitter.next() == nil)
            #expect(splitter.gatheredBytes == step * 50_000)
            #expect(splitter.reservedBytes <= 2 * splitter.gatheredBytes + 65_536)
        }
    }
}

struct FrameAdmissionTests {
    private let budget = FrameBudget(limitBytes: 100)
    private let a = ConnectionID(number: 1)
    private let b = ConnectionID(number: 2)
    private let c = ConnectionID(number: 3)

    @Test func oneConnectionAtATimeGoesOnWhenTheBudgetIsUsedUp() {
        var admission = FrameAdmission(budget: budget)
        let within = admission.mayGoOn(a)
        budget.change(by: 101)
        let above = [b, a, c, b].map { admission.mayGoOn($0) }
        #expect(within)
        #expect(above == [true, false, false, true])

        var resumed = [admission.nextToResume()]
        admission.finished(b)
        resumed += [admission.nextToResume(), admission.nextToResume()]
        budget.change(by: -50)
        resumed += [admission.nextToResume(), admission.nextToResume()]
        #expect(resumed == [nil, a, nil, c, nil])
    }

    @Test func aConnectionThatLeavesIsNotResumed() {
        var admission = FrameAdmission(budget: budget)
        budget.change(by: 200)
        let asked = [a, b].map { admission.mayGoOn($0) }
        admission.finished(b)
        admission.finished(a)
        let next = admission.nextToResume()
        #expect(asked == [true, false])
        #expect(next == nil)
    }
}
