// The real disk against the contract of `Disk`.

import CPosix
import Glibc
import NIOCore
import Server
import Storage
import Testing

struct PosixDiskTests {
    private let directory: TemporaryDirectory
    private let reports = Reports()
    private let flushers = FlusherPool(threadCount: 3)
    private let disk: PosixDisk

    init() throws {
        directory = try TemporaryDirectory()
        let reports = reports
        disk = PosixDisk(
            root: directory.path, flushers: flushers, openFilesMax: 2, deliver: { reports.add($0, $1) })
    }

    private func text(_ file: FileHandle, _ length: Int, at position: Int64 = 0) throws -> String {
        String(buffer: try disk.read(file, at: position, length: length))
    }

    private func write(_ text: String, to file: FileHandle, at position: Int64 = 0) throws {
        try disk.write(ByteBuffer(), ByteBuffer(string: text), to: file, at: position)
    }

    @Test func headAndBodyLieOneBehindTheOther() throws {
        let file = try disk.open("a", create: true)
        try disk.write(ByteBuffer(string: "head"), ByteBuffer(string: "body"), to: file, at: 3)
        #expect(try text(file, 8, at: 3) == "headbody")
        #expect(try disk.sizeBytes(of: file) == 11)
        try disk.truncate(file, to: 5)
        #expect(try disk.sizeBytes(of: file) == 5)
        #expect(throws: DiskError.pastEnd("a")) { try text(file, 6) }
    }

    @Test func namesAreSortedAndNothingThereIsEmpty() throws {
        try disk.createDirectory("x/y/z")
        try disk.createDirectory("x/y/z")
        for name in ["c", "a", "b"] { disk.close(try disk.open("x/y/\(name)", create: true)) }
        #expect(try disk.list("x/y") == ["a", "b", "c", "z"])
        #expect(try disk.list("nowhere") == [])
        #expect(throws: DiskError.notFound("x/q")) { _ = try disk.open("x/q", create: false) }
        try disk.remove("x")
        try disk.remove("x")
        #expect(try disk.list("") == [])
    }

    @Test func handlesOutliveTheirDescriptors() throws {
        let files = try (0..<6).map { try disk.open("f\($0)", create: true) }
        for (index, file) in files.enumerated() { try write("text \(index)", to: file) }
        #expect(disk.cachedDescriptorCount == 2)
        for (index, file) in files.enumerated() { #expect(try text(file, 6) == "text \(index)") }
        #expect(disk.cachedDescriptorCount == 2)
        for file in files { disk.close(file) }
        #expect(disk.cachedDescriptorCount == 0)
    }

    @Test func aHandleFollowsItsFileToAnotherName() throws {
        try disk.createDirectory("old")
        let file = try disk.open("old/a", create: true)
        try write("kept", to: file)
        try disk.rename("old", to: "new")
        for name in ["p", "q", "r"] { _ = try disk.open(name, create: true) }
        #expect(try text(file, 4) == "kept")
    }

    @Test func aHandleNeverReadsTheNextFileOfItsName() throws {
        let old = try disk.open("a", create: true)
        try write("old", to: old)
        for name in ["p", "q", "r"] { _ = try disk.open(name, create: true) }
        try disk.remove("a")
        let new = try disk.open("a", create: true)
        try write("new", to: new)
        #expect(throws: DiskError.notFound("a")) { try text(old, 3) }
        #expect(try text(new, 3) == "new")
    }

    @Test func aRemovedFileIsReadableWhileItIsOpen() throws {
        let file = try disk.open("a", create: true)
        try write("gone", to: file)
        try disk.remove("a")
        for name in ["p", "q", "r", "s"] { _ = try disk.open(name, create: true) }
        #expect(try text(file, 4) == "gone")
        disk.close(file)
        #expect(disk.cachedDescriptorCount == 2)
    }

    /// Large files are freed by another thread, those that are open still when that is over.
    @Test func whatIsRemovedIsFreed() throws {
        try disk.createDirectory("x")
        let files = try (0..<3).map { try disk.open("x/\($0)", create: true) }
        for file in files { try disk.truncate(file, to: 3 << 20) }
        try write("gone", to: files[2])
        disk.close(files[0])
        try disk.remove("x")
        #expect(try text(files[2], 4) == "gone")
        disk.close(files[1])
        disk.close(files[2])
        let folder = directory.path
        // Its threads have done then what was submitted.
        flushers.shutdown()
        let held = (0..<4_096).compactMap { descriptor -> String? in
            var target = [CChar](repeating: 0, count: 1_024)
            let length = readlink("/proc/self/fd/\(descriptor)", &target, target.count)
            return length > 0 ? String(decoding: target[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
        }
        #expect(held.filter { $0.hasPrefix(folder) } == [])
    }

    @Test func everyBarrierIsReportedOnce() throws {
        let files = try (0..<5).map { try disk.open("f\($0)", create: true) }
        for round in 0..<20 {
            for file in files { try write("round \(round)", to: file) }
            disk.flush(ticket(UInt64(round)), files: files, directories: ["", ""])
        }
        disk.flush(ticket(100), files: [], directories: [])
        let all = reports.wait(for: 21)
        #expect(Set(all.map(\.ticket.sequence)) == Set(Array(0..<20) + [100]))
        #expect(all.allSatisfy { $0.result == .done })
    }

    @Test func aBarrierThatCannotBeKeptIsReportedAsFailed() throws {
        disk.flush(ticket(1), files: [], directories: ["nowhere"])
        let all = reports.wait(for: 1)
        #expect(all[0].ticket == ticket(1))
        #expect(all[0].result == .failed(.notFound(directory.path + "/nowhere")))
        #expect(throws: DiskError.self) { try disk.flushNow(files: [], directories: ["nowhere"]) }
    }

    @Test func replacementsOfOneFileEndInTheOrderAskedFor() throws {
        for round in 1...60 {
            disk.replace(ticket(UInt64(round)), path: "state", contents: ByteBuffer(string: "state \(round)"))
        }
        try disk.replaceNow(path: "state", contents: ByteBuffer(string: "last"))
        let all = reports.wait(for: 60)
        #expect(all.map(\.ticket.sequence) == Array(1...60))
        #expect(all.allSatisfy { $0.result == .done })
        let file = try disk.open("state", create: false)
        #expect(try text(file, 4) == "last")
        #expect(try disk.sizeBytes(of: file) == 4)
        #expect(try disk.list("") == ["state"])
    }

    @Test func whoSendsFromAFileIsToldBeforeItGetsShorter() throws {
        let file = try disk.open("a", create: true)
        try write("0123456789", to: file)
        var told: [Int64] = []
        disk.willTruncate = { [disk] handle, size in
            told = [size, (try? disk.sizeBytes(of: handle)) ?? -1]
        }
        try disk.truncate(file, to: 4)
        disk.willTruncate = nil
        #expect(told == [4, 10])
    }

    @Test func aFullDiskSaysSo() throws {
        let place = directory.path + "/tiny"
        try disk.createDirectory("tiny")
        guard mount("tmpfs", place, "tmpfs", 0, "size=64k") == 0 else {
            print("skipped: a full disk needs a mount, and this user may not mount")
            return
        }
        defer { umount2(place, Int32(MNT_DETACH)) }
        let file = try disk.open("tiny/a", create: true)
        let bytes = ByteBuffer(repeating: 1, count: 256 << 10)
        #expect(throws: DiskError.noSpace("tiny/a")) { try disk.write(ByteBuffer(), bytes, to: file, at: 0) }
        #expect(throws: DiskError.self) { try disk.replaceNow(path: "tiny/b", contents: bytes) }
        #expect(try disk.list("tiny") == ["a"])
        disk.close(file)
    }

    /// What the file system holds for a file, its end and what was taken behind it.
    private func allocatedBytes(_ path: String) -> Int64 {
        var status = stat()
        return stat(directory.path + "/" + path, &status) == 0 ? Int64(status.st_blocks) * 512 : -1
    }

    private func isFallocatePossible() -> Bool {
        let descriptor = Glibc.open(directory.path + "/probe", O_RDWR | O_CREAT, 0o600)
        defer { Glibc.close(descriptor) }
        return posix_make_room(descriptor, 0, 1 << 16, 1 << 30) == 0
    }

    /// By the mount point with the longest path above it.
    private func isInMemory() -> Bool {
        let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
        let points = mounts.split(separator: "\n").map { $0.split(separator: " ") }
        let path = directory.path + "/"
        let above = points.filter { $0.count > 2 && path.hasPrefix($0[1] + ($0[1] == "/" ? "" : "/")) }
        return above.max { $0[1].count < $1[1].count }?[2] == "tmpfs"
    }

    /// As kernels without `cachestat` are asked.
    private func isCachedBySamples(_ name: String, _ size: Int) -> Bool {
        let descriptor = posix_open_file("\(directory.path)/\(name)", 0, 0)
        defer { Glibc.close(descriptor) }
        return posix_is_cached_by_samples(descriptor, 0, Int64(size)) != 0
    }

    @Test func whatLeftTheMemoryIsBroughtInByAnotherThread() throws {
        let size = 3 << 20
        let file = try disk.open("cold", create: true)
        try disk.write(ByteBuffer(), ByteBuffer(repeating: 7, count: size), to: file, at: 0)
        #expect(disk.isCached(file, at: 0, length: size))
        try disk.flushNow(files: [file], directories: [])
        disk.forgetCached(file, at: 0, length: size)
        // A file system in memory has no other place for it.
        if isInMemory() {
            print("\(directory.path) keeps all in memory")
        } else {
            #expect(!disk.isCached(file, at: 0, length: size))
            #expect(!isCachedBySamples("cold", size))
        }
        disk.bringIn(
            ticket(1),
            [
                FileRange(path: "cold", position: 0, length: size),
                FileRange(path: "cold", position: 4 << 20, length: 1),
                FileRange(path: "gone", position: 0, length: 1),
            ])
        #expect(reports.wait(for: 1).map(\.result) == [.done])
        #expect(disk.isCached(file, at: 0, length: size))
        #expect(disk.isCached(file, at: 5, length: 1))
        #expect(isCachedBySamples("cold", size))
        #expect(isCachedBySamples("cold", 1))
    }

    @Test func roomIsTakenAheadOfAGrowingFileAndGivenBack() throws {
        guard isFallocatePossible() else {
            print("skipped: \(directory.path) lies on a file system without fallocate, or a full one")
            return
        }
        let mebibyte = ByteBuffer(repeating: 7, count: 1 << 20)
        let size = Int64(mebibyte.readableBytes)
        func grown(_ name: String) throws -> FileHandle {
            let file = try disk.open(name, create: true)
            try disk.write(ByteBuffer(), mebibyte, to: file, at: 0)
            return file
        }

        let small = try disk.open("small", create: true)
        try write("small", to: small)
        disk.releaseRoom(of: small)
        #expect(allocatedBytes("small") < (1 << 16))

        let rolled = try grown("rolled")
        #expect(allocatedBytes("rolled") >= 2 * size)
        #expect(try disk.sizeBytes(of: rolled) == size)
        disk.releaseRoom(of: rolled)
        #expect(try disk.sizeBytes(of: rolled) == size)
        #expect(allocatedBytes("rolled") < size + (1 << 16))
        // What begins anew after a cut to nothing takes room anew.
        try disk.truncate(rolled, to: 0)
        try disk.write(ByteBuffer(), mebibyte, to: rolled, at: 0)
        #expect(allocatedBytes("rolled") >= 2 * size)

        disk.close(try grown("closed"))
        #expect(allocatedBytes("closed") < size + (1 << 16))
        // Another process took it, and was killed.
        let found = try disk.open("rolled", create: false)
        disk.releaseRoom(of: found)
        #expect(allocatedBytes("rolled") < size + (1 << 16))
        #expect(try disk.read(found, at: 0, length: mebibyte.readableBytes) == mebibyte)
    }

    @Test func oneProcessLocksADirectory() throws {
        let place = directory.path + "/deep/data"
        let lock = try DirectoryLock(dataDirectory: place)
        let failure = #expect(throws: StartError.self) { _ = try DirectoryLock(dataDirectory: place) }
        #expect(
            failure?.description.contains("another process uses the data directory \(place) (process \(getpid()))")
                == true)
        withExtendedLifetime(lock) {}
    }
}
