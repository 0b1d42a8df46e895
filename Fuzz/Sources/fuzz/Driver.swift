// Between libFuzzer and the entries. The environment says which entry (a name) or what else is wanted, because
// libFuzzer keeps the arguments to itself.

import CAllocations
import Foundation
import FuzzEntries

private let environment = ProcessInfo.processInfo.environment

private let entry: Int = {
    guard let name = environment["MARTLET_FUZZ_ENTRY"], let index = Fuzz.names.firstIndex(of: name) else {
        print("MARTLET_FUZZ_ENTRY must be one of: \(Fuzz.names.joined(separator: " "))")
        exit(2)
    }
    return index
}()

private let allocatedBytes: @Sendable () -> Int = { Int(martlet_allocated_bytes()) }

/// Prints the names of the entries, or writes an entry's seeds into a directory, and ends; else runs the seeds once, so
/// that what the runtime makes on first use is not counted later.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(_ count: UnsafePointer<CInt>?, _ arguments: UnsafeRawPointer?) -> CInt {
    if environment["MARTLET_FUZZ_LIST"] != nil {
        print(Fuzz.names.joined(separator: "\n"))
        exit(0)
    }
    let seeds = Fuzz.seeds(of: entry)
    if let directory = environment["MARTLET_FUZZ_SEEDS"] {
        for seed in seeds
        where !FileManager.default.createFile(
            atPath: "\(directory)/\(seed.name)", contents: Data(seed.bytes))
        {
            print("cannot write \(directory)/\(seed.name)")
            exit(1)
        }
        exit(0)
    }
    for seed in seeds.prefix(8) { seed.bytes.withUnsafeBytes { Fuzz.run(entry, $0) } }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    Fuzz.run(entry, UnsafeRawBufferPointer(start: bytes, count: count), allocatedBytes: allocatedBytes)
    return 0
}
