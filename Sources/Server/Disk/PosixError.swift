// How errno values become the disk's errors and the operator's words.

import Glibc
import Storage

extension DiskError {
    /// `status` is a negative errno, as CPosix answers it.
    init(path: String, status: Int32) {
        switch -status {
        case ENOENT: self = .notFound(path)
        case ENOSPC, EDQUOT: self = .noSpace(path)
        case EROFS: self = .readOnly(path)
        default: self = .failed(path, errno: -status)
        }
    }
}

/// The operating system's own sentence for an errno.
func reason(errno number: Int32) -> String {
    guard let text = strerror(number) else { return "error \(number)" }
    return String(cString: text)
}

/// Throws unless `status` is zero or positive.
@inline(__always)
func check(_ status: Int32, _ path: @autoclosure () -> String) throws(DiskError) {
    if status < 0 { throw DiskError(path: path(), status: status) }
}
