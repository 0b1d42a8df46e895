// What a loss of power leaves of names on the simulated disk: a directory is the same one under every name it has.

import DiskSimulation
import Model
import NIOCore
import Storage
import Testing

@Suite struct SimulatedNamesTests {
    private let disk = SimulatedDisk(seed: 1)

    /// The directory `/data/t`, on the medium, with the file `of` that says `old`.
    init() throws {
        try disk.createDirectory("/data/t")
        try disk.replaceNow(path: "/data/t/of", contents: ByteBuffer(string: "old"))
        try disk.flushNow(files: [], directories: ["/data"])
    }

    private func text(_ path: String) -> String? { disk.contents(of: path).map { String(decoding: $0, as: UTF8.self) } }

    /// As a topic is deleted and made anew under its name.
    private func replaceDirectory() throws {
        try disk.rename("/data/t", to: "/data/t-delete")
        try disk.createDirectory("/data/t")
    }

    @Test func whatIsWrittenIntoANewDirectoryIsNeverFoundInTheOldOneOfItsName() throws {
        var comebacks = 0
        let byLot = (0..<40).map { PowerLossPolicy.someOperations(seed: $0) }
        for policy in [.keepNothing, .keepEverything] + byLot {
            for isDone in [false, true] {
                let names = try SimulatedNamesTests()
                try names.replaceDirectory()
                let ticket = FlushTicket(owner: 1, generation: 0, sequence: 1)
                names.disk.replace(ticket, path: "/data/t/of", contents: ByteBuffer(string: "new"))
                if isDone { #expect(names.disk.completeBarrier(ticket)?.result == .done) }
                let file = try names.disk.open("/data/t/more", create: true)
                try names.disk.write(ByteBuffer(), ByteBuffer(string: "new"), to: file, at: 0)
                names.disk.powerLoss(policy: policy)
                let texts = ["/data/t", "/data/t-delete"].map { (names.text("\($0)/of"), names.text("\($0)/more")) }
                let old = texts.filter { $0.0 == "old" }
                #expect(old.count <= 1)
                comebacks += names.text("/data/t/of") == "old" ? 1 : 0
                #expect(old.allSatisfy { $0.1 == nil }, "\(policy) \(isDone)")
            }
        }
        #expect(comebacks > 10)
    }

    @Test func aRenamedDirectoryTakesAllAlongOrStays() throws {
        for isKept in [false, true] {
            let names = try SimulatedNamesTests()
            try names.disk.rename("/data/t", to: "/data/u")
            #expect(names.disk.filePaths == ["/data/u/of"])
            #expect(!names.disk.isNameDurable("/data/u/of"))
            names.disk.powerLoss(policy: isKept ? .keepEverything : .keepNothing)
            #expect(names.disk.filePaths == [isKept ? "/data/u/of" : "/data/t/of"])
        }
    }

    @Test func aDirectoryWithoutABarrierOnItsParentIsLostWithAllInIt() throws {
        try disk.createDirectory("/data/u")
        try disk.replaceNow(path: "/data/u/of", contents: ByteBuffer(string: "new"))
        #expect(!disk.isNameDurable("/data/u/of"))
        let lost = disk.afterCrash(.keepNothing)
        #expect(lost.filePaths == ["/data/t/of"])
        try disk.flushNow(files: [], directories: ["/data"])
        #expect(disk.isNameDurable("/data/u/of"))
        disk.powerLoss(policy: .keepNothing)
        #expect(text("/data/u/of") == "new")
    }

    @Test func whatIsRemovedWithItsDirectoryMayComeBackInPart() throws {
        var left: Set<[String]> = []
        for seed in 0..<40 {
            let names = try SimulatedNamesTests()
            try names.disk.remove("/data/t")
            #expect(names.disk.filePaths.isEmpty)
            names.disk.powerLoss(policy: .someOperations(seed: UInt64(seed)))
            left.insert(names.disk.filePaths)
        }
        #expect(left == [[], ["/data/t/of"]])
    }
}
