// martlet log dump FILE: what stands in the files of a data directory, and whether it is whole.

import ArgumentParser

struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Look into the files of a node's data directory.", subcommands: [DumpLog.self])
}

struct DumpLog: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dump", abstract: "Show segments, indexes and checkpoints, or verify them.",
        discussion: """
            Example: martlet log dump data/orders-0/00000000000000000000.log --records
                     martlet log dump data/orders-0 --verify
            A directory is shown with all that is in it, be it a partition's, a node's, or one of several nodes. \
            Files are only read: a node may be running on them. Segments of __cluster_metadata are shown as the \
            records of the metadata log.
            """)

    @OptionGroup var output: OutputOptions
    @Argument(
        help: "Segments (.log), .index, .timeindex, snapshots (.checkpoint), checkpoints, or directories.",
        completion: .file())
    var paths: [String]
    @Flag(help: "Show the records of each batch, too.") var records = false
    @Flag(
        help: """
            Instead of showing anything, check CRCs, offsets, records and what indexes name; exit code 1 when \
            something is wrong.
            """)
    var verify = false
    @Flag(help: "Read values as records of the metadata log, whatever the path says.") var metadata = false
    @Flag(help: "The topic is compacted: gaps between batches are nothing wrong.") var compacted = false

    func validate() throws {
        if verify, records { throw ValidationError("--verify shows nothing: leave out --records") }
    }

    func run() throws {
        let dump = LogDump(
            LogDumpOptions(
                json: output.json, records: records, verify: verify, metadata: metadata, compacted: compacted))
        do {
            for path in paths { try dump.dump(path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path) }
        } catch {
            // What was said before stays said.
            try dump.flush()
            throw error
        }
        try dump.finish()
        guard verify, dump.problemCount > 0 else { return }
        guard dump.problemCount > dump.tornTailCount else {
            throw CommandFailure(
                "\(counted(dump.tornTailCount, "torn tail")) found and nothing else: "
                    + "the node cuts it off when it starts"
            )
        }
        guard dump.problemCount > dump.tornTailCount + dump.indexProblemCount else {
            throw CommandFailure(
                "\(counted(dump.problemCount, "problem")) found, none of them in a log: a loss of power may leave "
                    + "older entries in an index; they are not believed, and the index is made again when one is met")
        }
        throw CommandFailure(
            "\(counted(dump.problemCount, "problem")) found: a stopped node whose partition directory is moved away "
                + "copies it anew from the other replicas")
    }
}
