// Every input that a fuzzer found worth keeping, and every seed, goes through the entries again, without a sanitizer.
// An input that breaks something traps: the last line of the output then names it.

import Foundation
import FuzzEntries
import Testing

private let corpus = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fuzz/Corpus")

@Suite(.serialized) struct ReplayTests {
    @Test(arguments: Fuzz.names) func inputsHold(entry: String) throws {
        installTrapNotice()
        let index = try #require(Fuzz.names.firstIndex(of: entry))
        let directory = corpus.appending(path: entry)
        let files = (try? FileManager.default.contentsOfDirectory(atPath: directory.path))?.sorted() ?? []
        let seeds = Fuzz.seeds(of: index)
        #expect(!files.isEmpty && !seeds.isEmpty)
        for seed in seeds {
            TrapNotice.set("\(entry), seed \(seed.name)")
            seed.bytes.withUnsafeBytes { Fuzz.run(index, $0) }
        }
        for file in files {
            let bytes = try Data(contentsOf: directory.appending(path: file))
            TrapNotice.set("Fuzz/Corpus/\(entry)/\(file)")
            bytes.withUnsafeBytes { Fuzz.run(index, $0) }
        }
    }

    @Test func everyDirectoryOfTheCorpusIsAnEntrys() throws {
        let directories = try FileManager.default.contentsOfDirectory(atPath: corpus.path)
        #expect(Set(directories) == Set(Fuzz.names))
    }
}
