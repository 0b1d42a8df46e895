// The one way in for whoever feeds bytes: libFuzzer (Fuzz/Sources/fuzz) and the replay of the corpora in `make test`.

import NIOCore

public enum Fuzz {
    /// In the order of their numbers.
    public static var names: [String] { entries.map(\.name) }

    /// Feeds one input to an entry and returns when it held; what does not hold traps with a sentence.
    /// `allocatedBytes` answers how many bytes this thread has asked for since it began, or always 0 where nobody
    /// counts: then the bounds on memory are not checked.
    public static func run(
        _ entry: Int, _ bytes: UnsafeRawBufferPointer, allocatedBytes: @escaping @Sendable () -> Int = { 0 }
    ) {
        let input = ByteBuffer(bytes: bytes)
        let look = Look()
        entries[entry].run(Feed(input, allocatedBytes, look))
        guard look.isOverBound else { return }
        // What the runtime makes once and keeps was perhaps counted: it is not made a second time.
        look.isSecond = true
        entries[entry].run(Feed(input, allocatedBytes, look))
    }

    /// Inputs to begin with: real encodings, and the malformed ones of reliability.md §9.
    public static func seeds(of entry: Int) -> [(name: String, bytes: [UInt8])] { entries[entry].seeds() }

    static let entries: [Entry] =
        [
            requestEntry, frameEntry, splitterEntry, responseEntry, metadataRecordsEntry, groupRecordsEntry,
            producedBatchEntry,
            replicatedBatchesEntry, fetchedRecordsEntry,
        ] + codecEntries + [
            logRecoveryEntry, indexFilesEntry, epochCheckpointEntry, producerSnapshotEntry, nodeBootEntry,
            clusterFileEntry, connectionEntry,
        ]
}

/// One thing that bytes are fed to.
struct Entry: Sendable {
    var name: String
    var run: @Sendable (Feed) -> Void
    var seeds: @Sendable () -> [(name: String, bytes: [UInt8])]
}

/// What a call may ask of malloc in all: `perByte` for each byte it was given, and `constant`. What it frees again is
/// not taken off, so that growing by doubling counts double.
struct Bound: Sendable {
    var perByte: Int
    var constant: Int
}

/// Whether a bound was passed, which counts only when it happens again.
final class Look {
    var isOverBound = false
    var isSecond = false
}

/// One input, to be eaten from the front: first what chooses, then what is read.
struct Feed {
    private(set) var rest: ByteBuffer
    private let allocatedBytes: @Sendable () -> Int
    private let look: Look

    init(_ bytes: ByteBuffer, _ allocatedBytes: @escaping @Sendable () -> Int, _ look: Look) {
        rest = bytes
        self.allocatedBytes = allocatedBytes
        self.look = look
    }

    /// The next byte; 0 when there is none.
    mutating func byte() -> Int { Int(rest.readInteger(as: UInt8.self) ?? 0) }

    /// At most `count` of the next bytes.
    mutating func slice(_ count: Int) -> ByteBuffer {
        rest.readSlice(length: min(count, rest.readableBytes)) ?? ByteBuffer()
    }

    /// The same counter over other bytes.
    func holding(_ bytes: ByteBuffer) -> Feed { Feed(bytes, allocatedBytes, look) }

    /// Runs `body`, and traps when it allocated more than `bound` allows for `bytes` bytes.
    func within<T, E: Error>(_ bound: Bound, of bytes: Int, _ body: () throws(E) -> T) throws(E) -> T {
        let before = allocatedBytes()
        defer {
            let used = allocatedBytes() - before
            if used > bound.perByte * bytes + bound.constant {
                look.isOverBound = true
                if look.isSecond {
                    broken("\(used) bytes allocated for \(bytes): above \(bound.perByte) each and \(bound.constant)")
                }
            }
        }
        return try body()
    }
}

/// Something that must hold does not: the input is a find.
func broken(_ sentence: String) -> Never { fatalError("FUZZ: \(sentence)") }

func check(_ holds: Bool, _ sentence: @autoclosure () -> String) {
    if !holds { broken(sentence()) }
}

extension ByteBuffer {
    var array: [UInt8] { Array(readableBytesView) }
}
