// What the tests of Server share: directories that go away, reports that can be waited for, ports nobody uses.

import Glibc
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Server
import Storage

/// A new directory under /tmp, removed with the value that holds it.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var name = Array("/tmp/martlet-test-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw TestFailure("mkdtemp: errno \(errno)") }
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? removeTree(path) }
}

struct TestFailure: Error {
    let text: String

    init(_ text: String) { self.text = text }
}

/// Collects what a disk reports and wakes who waits for a number of reports.
final class Reports: Sendable {
    private let all = NIOLockedValueBox<[(FlushTicket, FlushResult)]>([])
    private let count = ConditionLock<Int>(value: 0)

    func add(_ ticket: FlushTicket, _ result: FlushResult) {
        count.lock()
        let number = all.withLockedValue {
            $0.append((ticket, result))
            return $0.count
        }
        count.unlock(withValue: number)
    }

    /// All reports once there are exactly `number`.
    func wait(for number: Int) -> [(ticket: FlushTicket, result: FlushResult)] {
        count.lock(whenValue: number)
        defer { count.unlock() }
        return all.withLockedValue { $0.map { (ticket: $0.0, result: $0.1) } }
    }
}

func ticket(_ sequence: UInt64) -> FlushTicket { FlushTicket(owner: 1, generation: 0, sequence: sequence) }

/// Ports below the range that outgoing connections use, so that a connect to a dead one cannot meet itself.
func freePort() throws -> UInt16 {
    for _ in 0..<200 {
        let port = UInt16.random(in: 20_000..<30_000)
        let group = MultiThreadedEventLoopGroup.singleton
        if let channel = try? ServerBootstrap(group: group).bind(host: "127.0.0.1", port: Int(port)).wait() {
            try channel.close().wait()
            return port
        }
    }
    throw TestFailure("no free port")
}

/// A frame with its length prefix.
func framed(_ text: String) -> [UInt8] {
    let length = UInt32(text.utf8.count)
    return withUnsafeBytes(of: length.bigEndian, Array.init) + Array(text.utf8)
}

/// A plain blocking socket, as a client of another make would have. Gives up after twenty seconds.
final class PlainSocket {
    private let descriptor: Int32

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if status != 0 { throw TestFailure("connect: errno \(errno)") }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { throw TestFailure("send: errno \(errno)") }
            sent += count
        }
    }

    /// Exactly `count` bytes, or fewer when the peer ends the connection first. Throws when nothing comes for too long.
    func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + filled, count - filled, 0) }
            if got < 0, errno == EAGAIN { throw TestFailure("nothing came within twenty seconds") }
            if got <= 0 { break }
            filled += got
        }
        return Array(bytes[..<filled])
    }
}
