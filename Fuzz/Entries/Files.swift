// Files beside the logs: producer snapshots, everything a node reads at its start, cluster.yaml.

import Broker
import DiskSimulation
import Model
import NIOCore
import Records
import Server

extension Fuzz {
    /// First byte: 1 mends version, CRC and count.
    static let producerSnapshotEntry = Entry(
        name: "producer-snapshot", run: { feed in remember(feed) },
        seeds: {
            let entry =
                bigEndian(Int64(7)) + bigEndian(Int16(1)) + bigEndian(Int32(4)) + bigEndian(Int64(9))
                + bigEndian(Int32(2)) + bigEndian(Int64(1_000)) + bigEndian(Int32(-1)) + bigEndian(Int64(-1))
            return (0...6).map { count in
                (
                    "producers\(count)",
                    [1] + [UInt8](repeating: 0, count: 10) + Array((0..<count).map { _ in entry }.joined())
                )
            }
        })

    /// First byte: which file of a sound data directory the rest replaces, and 128: mends lengths, CRCs and offsets of
    /// batches in it.
    static let nodeBootEntry = Entry(
        name: "node-boot", run: { feed in boot(feed) },
        seeds: {
            bootFiles.enumerated().flatMap { index, file in
                let bytes = LoneNode.formedFiles.first { $0.path.hasSuffix(file) }?.bytes ?? []
                return [("file\(index)", [UInt8(index)] + bytes), ("mended\(index)", [UInt8(index) | 128] + bytes)]
            }
        })

    /// The file as text.
    static let clusterFileEntry = Entry(
        name: "cluster-yaml", run: { feed in configure(feed) },
        seeds: { clusterFiles.enumerated().map { ("\($0.offset)", Array($0.element.utf8)) } })
}

// MARK: Producers

private func remember(_ feed: Feed) {
    var feed = feed
    var bytes = feed.byte() & 1 != 0 ? mendedSnapshot(feed.slice(64 * 1024)) : feed.rest
    // 46 bytes on disk are 40 in memory, then a batch in the table's map.
    let bound = Bound(perByte: 16, constant: 8 * 1024)
    let decoded = feed.within(bound, of: bytes.readableBytes) { ProducerSnapshots.decode(bytes) }
    guard let table = decoded else { return }
    bytes = ProducerSnapshots.encode(table)
    guard let again = ProducerSnapshots.decode(bytes) else { broken("a snapshot of our own cannot be read") }
    check(ProducerSnapshots.encode(again) == bytes, "a producer snapshot changed")
    for entry in table.entries {
        let sequence = entry.lastSequence
        _ = table.verdict(
            on: .init(
                producerID: entry.producerID, producerEpoch: entry.epoch,
                baseSequence: max(0, sequence &- entry.offsetDelta), lastSequence: sequence, baseOffset: 0,
                lastOffset: 0, timestampMs: 0))
    }
}

private func mendedSnapshot(_ bytes: ByteBuffer) -> ByteBuffer {
    var body = bytes
    body.moveReaderIndex(forwardBy: min(10, body.readableBytes))
    let entries = body.readableBytes / 46
    var whole = ByteBuffer()
    whole.writeInteger(Int32(entries))
    whole.writeImmutableBuffer(body.getSlice(at: body.readerIndex, length: entries * 46) ?? ByteBuffer())
    var mended = ByteBuffer()
    mended.writeInteger(Int16(1))
    mended.writeInteger(crc32c(whole))
    mended.writeBuffer(&whole)
    return mended
}

// MARK: A node's start

/// What a node reads at its start, by the ends of the paths. Of the files of one name in two directories the first is
/// meant.
private let bootFiles = [
    "/meta.properties", "/quorum-state", ".checkpoint", "__cluster_metadata-0/00000000000000000000.log",
    "/recovery-point-offset-checkpoint", "/replication-offset-checkpoint", "/log-start-offset-checkpoint",
    "/partition.metadata", "t-0/00000000000000000000.log", "t-0/00000000000000000000.index",
    "t-0/leader-epoch-checkpoint", ".snapshot", "/.kafka_cleanshutdown",
    "__cluster_metadata-0/recovery-point-offset-checkpoint",
]

/// A file is read, and what it says is kept, told to the other machine, and perhaps written again. The constant is the
/// start of a whole node from its other files.
private let booting = Bound(perByte: 128, constant: 512 * 1024)

private func boot(_ feed: Feed) {
    var feed = feed
    let choice = feed.byte()
    let file = bootFiles[(choice & 127) % bootFiles.count]
    let given = feed.slice(16 * 1024)
    let bytes = choice & 128 != 0 ? mended(given, offsets: true) : given
    feed.within(booting, of: bytes.readableBytes) {
        guard let node = LoneNode(replacing: file, by: bytes.array) else { return }
        node.run(forMs: 1_500)
    }
}

// MARK: cluster.yaml

/// A node of the tree is some hundred bytes and may be two characters; each key of the file is looked up and compared
/// by its letters. The constant is libyaml's buffers and what 14 defaults are.
private let parsing = Bound(perByte: 4_096, constant: 512 * 1024)

private func configure(_ feed: Feed) {
    let text = String(decoding: feed.rest.readableBytesView, as: UTF8.self)
    let parsed = feed.within(parsing, of: feed.rest.readableBytes) { try? ClusterFile(parsing: text, path: "c/f.yaml") }
    guard let file = parsed else { return }
    check(!file.nodes.isEmpty, "a file without nodes passed")
    for node in file.nodes.prefix(4) { _ = try? StartConfiguration(file, nodeID: node.id, environment: [:]) }
}

private let clusterFiles = [
    """
    cluster: local
    nodes:
      - {id: 2, host: 10.0.0.2, port: 9092, data: /var/two, rack: b}
      - id: 1
        port: 9092
        data: run/one
        advertised: one.example:19092
      - id: 3
        listeners: PLAINTEXT://0.0.0.0:9094
        advertised.listeners: PLAINTEXT://[::1]:9094
        data: run/three
    defaults:
      num.partitions: 6
      auto.create.topics.enable: false
      broker.session.timeout.ms: 3_000
      log.segment.bytes: 2097152
      max.connections: 50

    """,
    "nodes: [{id: 1, port: 1, data: d}]\ndefaults: {default.replication.factor: 2}\n",
    "nodes: &a [*a]\n", "a: &a [b, b]\nb: &b [*a, *a]\nc: [*b, *b]\nnodes: *b\n",
    "nodes:\n  - {id: 1, id: 1, port: 65536, data: d}\n", "? [x]\n: y\n", "%YAML 1.2\n---\nnodes: !!binary aGk=\n",
    "\u{FEFF}nodes: []\n", "- - - - -\n", "nodes: [{id: 9223372036854775808, port: 1, data: \"\\x00\"}]\n",
    "{{{{{{{{[[[[[[[[", "nodes: |\n  text\n", "<<: *x\n", "nodes: [{id: 1, listeners: 'PLAINTEXT://:0', data: d}]\n",
]
