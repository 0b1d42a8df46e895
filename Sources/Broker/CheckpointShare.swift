// The checkpoint files of a node with several shards. Each shard has its own, because each writes when it must, in the
// middle of a step, and nothing that two threads write is one file.
//
// `recovery-point-offset-checkpoint` and its like hold what a node of one shard knows, as in Kafka. Shard 2 of 3 writes
// `recovery-point-offset-checkpoint.2-of-3`: where there is such a file, it alone speaks of the partitions that are
// placed on that shard of so many, also by its silence, and what the plain file says of them is old. Whose a line is
// follows from its name, so any set of these files reads as one. A node that starts with another number of shards first
// writes all lines into the plain files and then removes the shares; a crash between leaves shares that say the same.

import Model
import Storage

struct CheckpointShare: Equatable {
    let shard: Int
    let count: Int

    var ending: String { ".\(shard + 1)-of-\(count)" }

    init(shard: Int, count: Int) {
        self.shard = shard
        self.count = count
    }

    /// Nil when `name` is no share of `file`.
    init?(_ name: String, of file: String) {
        guard name.hasPrefix(file + ".") else { return nil }
        let parts = name.dropFirst(file.utf8.count + 1).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[1] == "of", let number = Int(parts[0]), let count = Int(parts[2]), count > 1,
            (1...count).contains(number)
        else { return nil }
        self.init(shard: number - 1, count: count)
        guard name == file + ending else { return nil }
    }

    private func speaks(of line: String) -> Bool { Placement.shard(ofDirectory: line, count: count) == shard }

    /// What the plain file and its shares say together; nil: one of them is damaged. `names` are those of the data
    /// directory.
    static func lines(
        of file: String, among names: [String], read: (String) -> SortedMap<String, Offset>?
    ) -> SortedMap<String, Offset>? {
        guard var lines = names.contains(file) ? read(file) : SortedMap() else { return nil }
        for name in names.sorted() {
            guard let share = CheckpointShare(name, of: file) else { continue }
            for line in lines.keys where share.speaks(of: line) { lines.removeValue(forKey: line) }
            guard let own = read(name) else { return nil }
            for (line, offset) in own where share.speaks(of: line) { lines[line] = offset }
        }
        return lines
    }
}

extension Checkpoints {
    private static let files = [recoveryPointFile, logStartFile, highWatermarkFile, cleanerFile]

    /// Before the shards run: when there are shares of another number of shards, the plain files take in all lines.
    /// Of a damaged cache nothing is taken in; damaged log starts refuse the start.
    static func gather(forShards count: Int, on disk: any Disk, _ directory: DataDirectory) throws {
        let names = try disk.list(directory.path)
        var old: [String] = []
        for file in files {
            old += names.filter { name in CheckpointShare(name, of: file).map { $0.count != count } ?? false }
        }
        guard !old.isEmpty else { return }
        for file in files {
            let lines = CheckpointShare.lines(of: file, among: names) { read("\(directory.path)/\($0)", disk) }
            guard let lines = lines ?? (file == logStartFile ? nil : SortedMap()) else { throw refusal(of: directory) }
            // Of a node that never compacted there is none.
            if file == cleanerFile, lines.isEmpty, !names.contains(where: { $0.hasPrefix(cleanerFile) }) { continue }
            try disk.replaceNow(path: "\(directory.path)/\(file)", contents: text(lines))
        }
        for name in old { try disk.remove("\(directory.path)/\(name)") }
        try disk.flushNow(files: [], directories: [directory.path])
    }
}

/// For the simulator, which reads the disk of a node that does not run.
package enum CheckpointInspection {
    /// `text` gives a file of the data directory by its name.
    package static func recoveryPoints(
        among names: [String], _ text: (String) -> String
    ) -> SortedMap<String, Offset> {
        CheckpointShare.lines(of: Checkpoints.recoveryPointFile, among: names) { Checkpoints.parse(text($0)) }
            ?? .init()
    }

    package static func cleanedEnds(among names: [String], _ text: (String) -> String) -> SortedMap<String, Offset> {
        CheckpointShare.lines(of: Checkpoints.cleanerFile, among: names) { Checkpoints.parse(text($0)) } ?? .init()
    }

    package static func logStarts(among names: [String], _ text: (String) -> String) -> SortedMap<String, Offset> {
        CheckpointShare.lines(of: Checkpoints.logStartFile, among: names) { Checkpoints.parse(text($0)) } ?? .init()
    }
}
