// A node's data directory: who it belongs to, and where partitions lie. File names and formats are Kafka's (protocol.md
// §4.3).

import Model
import NIOCore
import Storage

/// What `meta.properties` says. Without a cluster id the node has not joined one yet.
package struct DirectoryIdentity: Equatable, Sendable {
    package var nodeID: NodeID
    package var directoryID: UUID128
    package var clusterID: String?
}

package struct DataDirectory: Sendable {
    package let path: String
    package var identity: DirectoryIdentity

    private var metaPath: String { "\(path)/meta.properties" }
    private var cleanPath: String { "\(path)/.kafka_cleanshutdown" }
    var quorumStatePath: String { "\(metadataPath)/quorum-state" }
    var metadataPath: String { "\(path)/\(MetadataTopic.name)-0" }

    /// Reads the directory's identity, or gives an empty directory one.
    static func open(
        _ path: String, nodeID: NodeID, on disk: any Disk, random: inout SeededRandom
    ) throws(BootError) -> DataDirectory {
        do throws(DiskError) {
            try disk.createDirectory(path)
            let names = try disk.list(path)
            var directory = DataDirectory(
                path: path,
                identity: DirectoryIdentity(nodeID: nodeID, directoryID: .random(using: &random), clusterID: nil))
            guard names.contains("meta.properties") else {
                if let stranger = names.first(where: { $0.hasSuffix("-0") || $0 == "__cluster_metadata-0" }) {
                    throw BootRefusal.words(
                        "the data directory \(path) has logs (\(stranger)) but no meta.properties: it is "
                            + "damaged, or not one of Martlet's"
                    )
                    .asDiskError
                }
                try directory.writeIdentity(to: disk)
                return directory
            }
            directory.identity = try readIdentity(directory.metaPath, on: disk)
            guard directory.identity.nodeID == nodeID else {
                throw BootRefusal.words(
                    "the data directory \(path) belongs to node \(directory.identity.nodeID), and this is node "
                        + "\(nodeID)"
                )
                .asDiskError
            }
            for name in names where name.hasSuffix("-delete") { try disk.remove("\(path)/\(name)") }
            return directory
        } catch {
            throw .refused(BootRefusal.sentence(error, path))
        }
    }

    private static func readIdentity(_ path: String, on disk: any Disk) throws(DiskError) -> DirectoryIdentity {
        var fields: [String: String] = [:]
        let text = try readText(path, on: disk)
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { fields[String(parts[0])] = String(parts[1]) }
        }
        guard fields["version"] == "1", let node = fields["node.id"].flatMap({ Int32($0) }),
            let directoryID = fields["directory.id"].flatMap({ UUID128($0) })
        else {
            throw BootRefusal.words("\(path) cannot be read: version=1, node.id and directory.id are expected")
                .asDiskError
        }
        guard TextChecksum.holds(text, after: checksumMark, endingIn: "\n") else {
            throw BootRefusal.words(
                "\(path) is damaged: it is not what its checksum says; move the data directory away, and this node "
                    + "comes back as a new replica"
            )
            .asDiskError
        }
        return DirectoryIdentity(nodeID: node, directoryID: directoryID, clusterID: fields["cluster.id"])
    }

    /// To other readers of properties files a remark.
    private static let checksumMark = "# crc32c="

    /// Durable when it returns.
    private func writeIdentity(to disk: any Disk) throws(DiskError) {
        var text = "version=1\n"
        if let clusterID = identity.clusterID { text += "cluster.id=\(clusterID)\n" }
        text += "node.id=\(identity.nodeID)\ndirectory.id=\(identity.directoryID)\n"
        text += "\(Self.checksumMark)\(TextChecksum.of(text))\n"
        try disk.replaceNow(path: metaPath, contents: ByteBuffer(string: text))
    }

    /// Joins a cluster, once. A node does this before it serves anything, so it waits for the disk.
    mutating func join(cluster clusterID: String, on disk: any Disk) throws(DiskError) {
        precondition(identity.clusterID == nil, "a directory belongs to one cluster for good")
        identity.clusterID = clusterID
        try writeIdentity(to: disk)
    }

    // MARK: Orderly stops

    /// The broker epoch of the incarnation that stopped in order, read and taken away: a second start after it proves
    /// nothing.
    func takeCleanShutdown(on disk: any Disk) throws(DiskError) -> BrokerEpoch? {
        guard try disk.list(path).contains(".kafka_cleanshutdown") else { return nil }
        let text = try DataDirectory.readText(cleanPath, on: disk)
        try disk.remove(cleanPath)
        try disk.flushNow(files: [], directories: [path])
        let digits = text.split(separator: ":").last.map { $0.filter { $0.isNumber } } ?? ""
        return BrokerEpoch(digits)
    }

    func markCleanShutdown(_ epoch: BrokerEpoch, on disk: any Disk) throws(DiskError) {
        try disk.replaceNow(path: cleanPath, contents: ByteBuffer(string: "{\"version\":0,\"brokerEpoch\":\(epoch)}"))
    }

    // MARK: Partitions

    /// What a file system takes as the name of a directory.
    private static let nameBytesMax = 255

    /// The directory's name with `ending` behind it. Where the two are too long together, the topic's name is cut from
    /// its end, as Kafka does it: the partition's number stays, and what makes the ending unique.
    private static func name(of directory: String, ending: String) -> String {
        let dash = directory.lastIndex(of: "-") ?? directory.endIndex
        let tail = directory[dash...] + ending
        return String(directory[..<dash].prefix(max(0, nameBytesMax - tail.utf8.count)) + tail)
    }

    /// The topic that the directory of that name says it belongs to. Nil where there is none, and where it does not
    /// say.
    func owner(of name: String, on disk: any Disk) throws(DiskError) -> UUID128? {
        try DataDirectory.topicID("\(path)/\(name)/partition.metadata", on: disk)
    }

    /// Renames the directory of a partition that holds another topic of the same name, `owner`, or one that says not
    /// whose it is: it is set aside, never removed. After this `openPartition` finds the name free.
    func setAsideStranger(name: String, of owner: UUID128?, on disk: any Disk) throws(DiskError) {
        let directory = "\(path)/\(name)"
        guard try !disk.list(directory).isEmpty else { return }
        let id = owner.map(String.init(describing:)) ?? "unknown"
        let names = try disk.list(path)
        var (number, stray) = (0, name)
        repeat {
            number += 1
            stray = DataDirectory.name(of: name, ending: ".\(id)-\(number)-stray")
        } while names.contains(stray)
        try disk.rename(directory, to: "\(path)/\(stray)")
    }

    /// The directory of a partition, made on first use, once no other topic has its name.
    /// A new one still lacks its `partition.metadata`: `identify` asks for it, and until that is durable nothing in the
    /// directory counts as durable, because without it the directory is set aside.
    func openPartition(name: String, on disk: any Disk) throws(DiskError) -> (path: String, isNew: Bool) {
        let directory = "\(path)/\(name)"
        guard try disk.list(directory).isEmpty else { return (directory, false) }
        try disk.createDirectory(directory)
        return (directory, true)
    }

    func identify(partition directory: String, topicID: UUID128, _ ticket: FlushTicket, on disk: any Disk) {
        var text = "version: 0\ntopic_id: \(topicID)\n"
        text += "\(Self.partitionChecksumMark)\(TextChecksum.of(text))\n"
        disk.replace(ticket, path: "\(directory)/partition.metadata", contents: ByteBuffer(string: text))
    }

    /// No file of it is open. What is left of it when the node ends goes at its next start.
    func deletePartition(_ directory: String, topicID: UUID128, on disk: any Disk) throws(DiskError) {
        let name = String(directory.dropFirst(path.count + 1))
        let doomed = "\(path)/\(DataDirectory.name(of: name, ending: ".\(topicID)-delete"))"
        try disk.discard(directory, as: doomed)
    }

    /// Behind the two lines that Kafka reads.
    private static let partitionChecksumMark = "crc32c: "

    /// Nil where there is no such file, and where it is not what was written: whose the directory is nobody can tell
    /// then. It is set aside, and what the checkpoints remember of it tells of the loss.
    private static func topicID(_ file: String, on disk: any Disk) throws(DiskError) -> UUID128? {
        guard let text = try readTextIfPresent(file, on: disk),
            TextChecksum.holds(text, after: partitionChecksumMark, endingIn: "\n")
        else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix("topic_id: ") }
        return line.flatMap { UUID128($0.dropFirst("topic_id: ".count)) }
    }

    static func readTextIfPresent(_ path: String, on disk: any Disk) throws(DiskError) -> String? {
        do throws(DiskError) {
            return try readText(path, on: disk)
        } catch .notFound {
            return nil
        }
    }

    static func readText(_ path: String, on disk: any Disk) throws(DiskError) -> String {
        let file = try disk.open(path, create: false)
        defer { disk.close(file) }
        let size = try disk.sizeBytes(of: file)
        return String(buffer: try disk.read(file, at: 0, length: Int(size)))
    }
}

/// Sentences for the operator on their way through the disk's error type.
private enum BootRefusal {
    case words(String)

    var asDiskError: DiskError {
        switch self {
        case .words(let text): .failed(text, errno: 0)
        }
    }

    static func sentence(_ error: DiskError, _ path: String) -> String {
        switch error {
        case .failed(let text, errno: 0): text
        default: "the data directory \(path) cannot be used: \(error)"
        }
    }
}
