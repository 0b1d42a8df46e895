// Every input that a fuzzer found worth keeping, and every seed, goes through the entries again, without a sanitizer
// but with every byte asked of malloc counted. An input that breaks something, or asks for more than its bound, traps:
// the last line of the output then names it.

import CAllocations
import Foundation
import FuzzEntries
import Testing

private let corpus = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fuzz/Corpus")

private let allocatedBytes: @Sendable () -> Int = { Int(martlet_allocated_bytes()) }

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
            seed.bytes.withUnsafeBytes { Fuzz.run(index, $0, allocatedBytes: allocatedBytes) }
        }
        for file in files {
            let bytes = try Data(contentsOf: directory.appending(path: file))
            TrapNotice.set("Fuzz/Corpus/\(entry)/\(file)")
            bytes.withUnsafeBytes { Fuzz.run(index, $0, allocatedBytes: allocatedBytes) }
        }
    }

    @Test func everyDirectoryOfTheCorpusIsAnEntrys() throws {
        let directories = try FileManager.default.contentsOfDirectory(atPath: corpus.path)
        #expect(Set(directories) == Set(Fuzz.names))
    }

    #if canImport(Glibc)
        /// Else the bounds would hold because nobody counts.
        @Test func everyWayToAskForMemoryIsCounted() {
            let sizeBytes = 100_000
            var held: [UnsafeMutableRawPointer?] = []
            func asked(_ body: () -> UnsafeMutableRawPointer?) -> Int {
                let before = allocatedBytes()
                held.append(body())
                return allocatedBytes() - before
            }
            #expect(asked { malloc(sizeBytes) } >= sizeBytes)
            #expect(asked { calloc(1_000, sizeBytes / 1_000) } >= sizeBytes)
            #expect(asked { realloc(nil, sizeBytes) } >= sizeBytes)
            #expect(asked { .allocate(byteCount: sizeBytes, alignment: 8) } >= sizeBytes)
            #expect(asked { .allocate(byteCount: sizeBytes, alignment: 4_096) } >= sizeBytes)
            for block in held { free(block) }
        }

        /// The same inputs as ever, with each byte counted a thousandfold.
        @Test func whoAsksForTooMuchIsStopped() async {
            let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let index = try #require(Fuzz.names.firstIndex(of: "request"))
                for seed in Fuzz.seeds(of: index) {
                    seed.bytes.withUnsafeBytes { Fuzz.run(index, $0, allocatedBytes: { 1_000 * allocatedBytes() }) }
                }
            }
            let said = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
            #expect(said.contains("bytes allocated for"))
        }
    #endif
}
