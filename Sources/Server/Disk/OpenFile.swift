// A descriptor that closes itself when nobody uses it any more.

import NIOCore

/// Whoever reads, syncs or sends the file holds a reference, so that neither the LRU of handles nor a removal takes the
/// descriptor away under a flusher thread or a `sendfile`.
final class OpenFile: Sendable {
    let descriptor: Int32
    /// The same descriptor for NIO's `FileRegion`. NIO lets one thread at a time use it: only the loop that owns the
    /// disk does.
    let region: NIOFileHandle

    init(descriptor: Int32) {
        self.descriptor = descriptor
        region = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: descriptor)
    }

    deinit {
        // Nothing can be done about a failing close, and what had to be durable was synced by name.
        try? region.close()
    }
}
