// Bit rot: what a disk had promised is changed, cut short, unreadable or gone. Only below the recovery points that it
// holds itself, or from there on where others have all that it acknowledged, of synchronous topics, while its process
// is away, and on one node of a run: the others can make it good.

import Broker
import DiskSimulation
import Model
import Records

extension World {
    func rot(_ node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        guard rotten == nil || rotten == node.id, !hasWiped, node.isRunning, !node.isPaused else { return false }
        let files = promisedFiles(of: node)
        guard !files.isEmpty else { return false }
        rotten = node.id
        node.downtimeMs = fault.durationMs
        crash(node, .process)
        checkers.rots(node)
        for _ in 0..<1 + random.below(3) { spoil(files[Int(random.below(Int64(files.count)))], of: node, &random) }
        return true
    }

    /// A log file and how much of it lies below the recovery point.
    private struct PromisedFile {
        var path: String
        var bytes: Range<Int>
        var isWhole: Bool
        /// Where each of its batches begins, rising.
        var starts: [Int]

        func epochPosition(before position: Int) -> Int { (starts.last { $0 <= position } ?? 0) + 12 }
    }

    private func promisedFiles(of node: SimulatedNode) -> [PromisedFile] {
        let root = Self.dataDirectory + "/"
        let names = node.disk.filePaths.filter { $0.hasPrefix(root) }.map { String($0.dropFirst(root.count)) }
        func text(_ name: String) -> String {
            String(decoding: node.disk.contents(of: root + name) ?? [], as: UTF8.self)
        }
        let points = CheckpointInspection.recoveryPoints(among: names, text)
        let starts = CheckpointInspection.logStarts(among: names, text)
        var found: [PromisedFile] = []
        for path in node.disk.filePaths where path.hasPrefix(Self.dataDirectory + "/") && path.hasSuffix(".log") {
            let parts = path.split(separator: "/")
            guard parts.count == 3, let base = Offset(parts[2].dropLast(4)), !parts[1].contains("async"),
                let point = points[String(parts[1])], base >= starts[String(parts[1])] ?? 0,
                let contents = node.disk.contents(of: path)
            else { continue }
            var end = 0
            var begins: [Int] = []
            while let header = contents.withUnsafeBytes({ BatchHeader(UnsafeRawBufferPointer(rebasing: $0[end...])) }),
                header.nextOffset <= point, end + header.sizeBytes <= contents.count
            {
                begins.append(end)
                end += header.sizeBytes
            }
            guard end > 0 else { continue }
            found.append(
                PromisedFile(path: path, bytes: 0..<end, isWhole: end == contents.count, starts: begins))
        }
        return found
    }

    /// Whether another replica of ISR or ELR has all that this one acknowledged.
    private func othersMayLead(_ file: PromisedFile, _ node: SimulatedNode) -> Bool {
        let name = file.path.split(separator: "/")[1]
        guard let dash = name.lastIndex(of: "-"), let index = PartitionIndex(name[name.index(after: dash)...]),
            let topic = checkers.metadata.newest.topic(named: String(name[..<dash])),
            let partition = checkers.metadata.newest.partition(TopicPartition(topic.id, index))
        else { return false }
        return (partition.isr + partition.eligibleLeaderReplicas).contains { $0 != node.id }
    }

    /// Also above the recovery point, in this file and in those behind it.
    private func blank(_ file: PromisedFile, from position: Int, of node: SimulatedNode) {
        let folder = file.path.prefix(file.path.count - file.path.split(separator: "/")[2].count)
        for path in node.disk.filePaths where path.hasPrefix(folder) && path.hasSuffix(".log") && path >= file.path {
            guard let contents = node.disk.contents(of: path) else { continue }
            let kept = path == file.path ? min(position, contents.count) : 0
            let zeroes = [UInt8](repeating: 0, count: contents.count - kept)
            node.disk.overwrite(path, with: contents.prefix(kept) + zeroes)
        }
    }

    private func spoil(_ file: PromisedFile, of node: SimulatedNode, _ random: inout SeededRandom) {
        let kind = random.below(6)
        let drawn = Int(random.below(Int64(file.bytes.count)))
        // The checksum does not cover a batch's leader epoch: see decision 0006.
        let position = (0..<4).contains(drawn - file.epochPosition(before: drawn)) ? 0 : drawn
        let mask = UInt8(1) << UInt8(random.below(8))
        guard let contents = node.disk.contents(of: file.path), contents.count >= file.bytes.count else { return }
        if kind == 2, file.isWhole {
            trace.note(now, "FAULT \(file.path) of node \(node.id) is cut to \(position) bytes")
            node.disk.overwrite(file.path, with: Array(contents.prefix(position)))
        } else if kind == 3, file.isWhole {
            trace.note(now, "FAULT \(file.path) of node \(node.id) is gone")
            node.disk.lose(file.path)
        } else if kind == 3, othersMayLead(file, node) {
            trace.note(now, "FAULT from byte \(position) of \(file.path) of node \(node.id) on there is nothing")
            blank(file, from: position, of: node)
        } else if kind == 5 {
            // A cache: whatever it holds, nothing is lost by it.
            let index = String(file.path.dropLast(4)) + (random.oneIn(2) ? ".index" : ".timeindex")
            let garbage = (0..<12 * random.below(20)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            trace.note(now, "FAULT \(index) of node \(node.id) holds \(garbage.count) bytes of garbage")
            node.disk.overwrite(index, with: garbage)
        } else if kind == 4 {
            trace.note(now, "FAULT the sector of byte \(position) of \(file.path) of node \(node.id) is bad")
            node.disk.spoilSector(file.path, at: position)
        } else {
            trace.note(now, "FAULT a bit of byte \(position) of \(file.path) of node \(node.id) flips")
            node.disk.corrupt(file.path, at: position, flipping: mask)
        }
    }
}
