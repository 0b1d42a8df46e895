// Processes on this machine that listen at a cluster's addresses, and the CPU time they have used. Linux only: read
// from /proc, so that it works for any broker and needs nothing from it.

import Glibc
import MartletClient

/// CPU time of some processes.
struct NodeTimes: Sendable {
    var seconds: Double
    var count: Int

    func since(_ earlier: NodeTimes) -> NodeTimes { NodeTimes(seconds: seconds - earlier.seconds, count: count) }
}

struct LocalNodes: Sendable {
    /// By node id; nodes elsewhere are missing.
    let pids: [Int32: pid_t]

    /// Nil when no node of the cluster runs on this machine where its process can be seen.
    static func find(of cluster: ClusterClient) async throws -> LocalNodes? {
        let nodes = try await cluster.describeCluster().nodes
        var inodes: [String: Int32] = [:]
        for node in nodes where isLocal(node.address.host) {
            for inode in listeners(port: node.address.port) { inodes[inode] = node.id }
        }
        guard !inodes.isEmpty else { return nil }
        var pids: [Int32: pid_t] = [:]
        for pid in entries(of: "/proc").compactMap({ pid_t($0) }) {
            for descriptor in entries(of: "/proc/\(pid)/fd") {
                guard let target = link("/proc/\(pid)/fd/\(descriptor)"), let node = inodes[target] else { continue }
                pids[node] = pid
            }
        }
        return pids.isEmpty ? nil : LocalNodes(pids: pids)
    }

    /// User and system time of all of them.
    func times() -> NodeTimes {
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        let pids = Set(pids.values)
        // In ticks, because the set has another order each time: a sum of fractions would differ in its last digit.
        let sum = pids.reduce(0) { (sum: Int, pid) in
            // The name may hold blanks: what counts stands behind its closing parenthesis.
            guard let text = Self.contents("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return sum }
            let fields = text[text.index(after: end)...].split(separator: " ")
            guard fields.count > 12, let user = Int(fields[11]), let system = Int(fields[12]) else { return sum }
            return sum + user + system
        }
        return NodeTimes(seconds: Double(sum) / ticks, count: pids.count)
    }

    private static func isLocal(_ host: String) -> Bool {
        host == "localhost" || host.hasPrefix("127.") || host == "::1" || host == "0.0.0.0"
    }

    /// The sockets that listen on a port, as "socket:[INODE]".
    private static func listeners(port: UInt16) -> [String] {
        let digits = String(port, radix: 16, uppercase: true)
        let ending = ":" + String(repeating: "0", count: 4 - digits.count) + digits
        return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap { path -> [String] in
            (contents(path) ?? "").split(separator: "\n").compactMap { line in
                let fields = line.split(separator: " ")
                // 0A is LISTEN.
                guard fields.count > 9, fields[1].hasSuffix(ending), fields[3] == "0A" else { return nil }
                return "socket:[\(fields[9])]"
            }
        }
    }

    private static func entries(of path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            withUnsafePointer(to: entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { names.append(String(cString: $0)) }
            }
        }
        return names
    }

    private static func link(_ path: String) -> String? {
        var bytes = [UInt8](repeating: 0, count: 128)
        let count = bytes.withUnsafeMutableBytes { room in
            room.baseAddress.map { readlink(path, $0.assumingMemoryBound(to: CChar.self), room.count) } ?? -1
        }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }

    private static func contents(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = chunk.withUnsafeMutableBytes { room in
                room.baseAddress.map { read(descriptor, $0, room.count) } ?? 0
            }
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }
}
