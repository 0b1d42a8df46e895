// Walking, making and removing directories by absolute path.

import CPosix
import Glibc
import Storage

/// The names in a directory, in no order, without `.` and `..`.
func namesIn(_ directory: String) throws(DiskError) -> [String] {
    guard let stream = opendir(directory) else { throw DiskError(path: directory, status: -errno) }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
        errno = 0
        guard let entry = readdir(stream) else {
            if errno != 0 { throw DiskError(path: directory, status: -errno) }
            return names
        }
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { names.append(name) }
    }
}

/// Makes a directory and those above it that are missing.
package func makeDirectories(_ path: String) throws(DiskError) {
    if mkdir(path, 0o755) == 0 { return }
    switch errno {
    case EEXIST:
        if posix_is_directory(path + "/.") != 1 { throw .failed(path, errno: ENOTDIR) }
    case ENOENT:
        let parent = parentDirectory(of: path)
        if parent == path { throw .notFound(path) }
        try makeDirectories(parent)
        if mkdir(path, 0o755) != 0, errno != EEXIST { throw DiskError(path: path, status: -errno) }
    default:
        throw DiskError(path: path, status: -errno)
    }
}

/// Removes a file, or a directory with all in it, without following links. Nothing there is not an error. Each file is
/// shown to `willUnlink` first.
package func removeTree(_ path: String, willUnlink: (String) -> Void = { _ in }) throws(DiskError) {
    let kind = posix_is_directory(path)
    if kind == -ENOENT { return }
    try check(kind, path)
    if kind == 0 {
        willUnlink(path)
        if unlink(path) != 0, errno != ENOENT { throw DiskError(path: path, status: -errno) }
        return
    }
    // A replacement under way on a flusher thread can put its temporary file back in between; it does so once.
    for attempt in 1... {
        for name in try namesIn(path) { try removeTree(path + "/" + name, willUnlink: willUnlink) }
        if rmdir(path) == 0 || errno == ENOENT { return }
        if errno != ENOTEMPTY || attempt == 10 { throw DiskError(path: path, status: -errno) }
    }
}
