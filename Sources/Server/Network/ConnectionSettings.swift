// The bounds and times of accepted connections.

import Model

package struct ConnectionSettings: Hashable, Sendable {
    /// `socket.request.max.bytes`: the largest frame.
    package var frameBytesMax = Limits.frameBytesMax
    /// `max.connections`: served at once by the node.
    package var connectionsMax = Limits.connectionsMax
    /// `connections.max.idle.ms`: nothing came for this long.
    package var idleMs: Int64 = 600_000
    /// Part of a frame came, and then nothing for this long. Also the time that a closing connection has to take what
    /// was answered.
    package var stallMs: Int64 = 30_000
    /// `queued.max.request.bytes`: bytes of frames that are not whole yet, over all connections of the node.
    package var partialFrameBytesMax = 256 << 20

    package init() {}
}
