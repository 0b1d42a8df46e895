// The handles of one disk and, for the most recently used of them, the descriptors.

import CPosix
import Storage

/// Slots in an array, linked from the least to the most recently used. A handle's number is its slot and the slot's
/// generation, so that a closed handle is told from the slot's next tenant.
struct FileTable {
    private struct Slot {
        var generation: UInt32 = 0
        var path = ""
        var isTaken = false
        /// The name is gone or belongs to another file: the descriptor must not be opened again by name.
        var isUnlinked = false
        var file: OpenFile?
        var bytesSinceWriteBack = 0
        /// Up to here blocks were taken; 0: not known.
        var roomEnd: Int64 = 0
        var older = -1
        var newer = -1
    }

    private let root: String
    private let descriptorsMax: Int
    private var slots: [Slot] = []
    private var free: [Int] = []
    private var oldest = -1
    private var newest = -1
    /// Slots in the list: those with a descriptor that may be given up.
    private(set) var descriptorCount = 0

    init(root: String, descriptorsMax: Int) {
        self.root = root
        self.descriptorsMax = max(1, descriptorsMax)
    }

    mutating func insert(path: String, file: OpenFile) -> FileHandle {
        let index: Int
        if let reused = free.popLast() {
            index = reused
        } else {
            index = slots.count
            slots.append(Slot())
        }
        slots[index].path = path
        slots[index].isTaken = true
        slots[index].isUnlinked = false
        slots[index].bytesSinceWriteBack = 0
        slots[index].roomEnd = 0
        slots[index].file = file
        append(index)
        evictBeyondLimit()
        return FileHandle(number: UInt64(slots[index].generation) << 32 | UInt64(index))
    }

    mutating func close(_ handle: FileHandle) {
        let index = index(of: handle)
        if slots[index].file != nil, !slots[index].isUnlinked { unlink(index) }
        slots[index].file = nil
        slots[index].path = ""
        slots[index].isTaken = false
        slots[index].generation &+= 1
        free.append(index)
    }

    func path(of handle: FileHandle) -> String { slots[index(of: handle)].path }

    /// Its descriptor, where it has one and its name is gone.
    func unlinkedFile(of handle: FileHandle) -> OpenFile? {
        let slot = slots[index(of: handle)]
        return slot.isUnlinked ? slot.file : nil
    }

    /// Whether the handle has not been closed.
    func isOpen(_ handle: FileHandle) -> Bool {
        let index = Int(truncatingIfNeeded: handle.number & 0xffff_ffff)
        return index < slots.count && slots[index].isTaken && slots[index].generation == UInt32(handle.number >> 32)
    }

    /// The descriptor, opened again if it was given up, and now the most recently used.
    mutating func use(_ handle: FileHandle) throws(DiskError) -> OpenFile {
        let index = index(of: handle)
        if let file = slots[index].file {
            if index != newest, !slots[index].isUnlinked {
                unlink(index)
                append(index)
            }
            return file
        }
        let path = slots[index].path
        if slots[index].isUnlinked { throw .notFound(path) }
        let descriptor = posix_open_file(absolutePath(path, in: root), 0, 0)
        try check(descriptor, path)
        let file = OpenFile(descriptor: descriptor)
        slots[index].file = file
        append(index)
        evictBeyondLimit()
        return file
    }

    /// Adds to what was written since the last write-back of the file; true when it passes `limit`, and then it counts
    /// anew.
    mutating func countWritten(_ byteCount: Int, to handle: FileHandle, limit: Int) -> Bool {
        let index = index(of: handle)
        slots[index].bytesSinceWriteBack += byteCount
        guard slots[index].bytesSinceWriteBack >= limit else { return false }
        slots[index].bytesSinceWriteBack = 0
        return true
    }

    mutating func resetWritten(_ handle: FileHandle) { slots[index(of: handle)].bytesSinceWriteBack = 0 }

    func roomEnd(of handle: FileHandle) -> Int64 { slots[index(of: handle)].roomEnd }

    mutating func setRoomEnd(of handle: FileHandle, _ end: Int64) { slots[index(of: handle)].roomEnd = end }

    /// Handles follow their file to its new name; handles of a file that stood there before keep their descriptor, if
    /// they have one.
    mutating func renamed(_ path: String, to newPath: String) {
        removed(newPath)
        for index in slots.indices where slots[index].isTaken && !slots[index].isUnlinked {
            if slots[index].path == path {
                slots[index].path = newPath
            } else if slots[index].path.hasPrefix(path + "/") {
                slots[index].path = newPath + slots[index].path.dropFirst(path.count)
            }
        }
    }

    /// The file, or all in the directory, has no name any more: descriptors that are open stay until the handle is
    /// closed.
    mutating func removed(_ path: String) {
        for index in slots.indices where slots[index].isTaken && !slots[index].isUnlinked {
            guard slots[index].path == path || slots[index].path.hasPrefix(path + "/") else { continue }
            if slots[index].file != nil { unlink(index) }
            slots[index].isUnlinked = true
        }
    }

    private func index(of handle: FileHandle) -> Int {
        precondition(isOpen(handle), "a file handle is used after it was closed")
        return Int(truncatingIfNeeded: handle.number & 0xffff_ffff)
    }

    private mutating func append(_ index: Int) {
        slots[index].older = newest
        slots[index].newer = -1
        if newest >= 0 { slots[newest].newer = index } else { oldest = index }
        newest = index
        descriptorCount += 1
    }

    private mutating func unlink(_ index: Int) {
        let (older, newer) = (slots[index].older, slots[index].newer)
        if older >= 0 { slots[older].newer = newer } else { oldest = newer }
        if newer >= 0 { slots[newer].older = older } else { newest = older }
        descriptorCount -= 1
    }

    /// Unsynced bytes of a file that loses its descriptor stay in the page cache: the next sync, on whatever
    /// descriptor, writes them, and Linux reports an error of theirs to the next opener.
    private mutating func evictBeyondLimit() {
        while descriptorCount > descriptorsMax {
            let index = oldest
            unlink(index)
            slots[index].file = nil
        }
    }
}

/// A disk's path in the file system. The empty path is the root itself; without a root, paths are the file system's
/// own.
func absolutePath(_ path: String, in root: String) -> String {
    if root.isEmpty { return path.isEmpty ? "." : path }
    return path.isEmpty ? root : root + "/" + path
}
