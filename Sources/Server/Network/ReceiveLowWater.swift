// How much must have come before the kernel wakes the loop.

import Glibc
import NIOCore

/// In the middle of a large frame `SO_RCVLOWAT` is what is missing of it: a frame of 1 MiB arrives in a dozen segments,
/// and to be woken for each costs the sender, who wakes, more than the copy of its bytes.
struct ReceiveLowWater {
    /// More at once saves no more CPU and takes the pipe between the two its depth (docs/PERFORMANCE.md).
    static let bytesMax = 192 << 10
    /// For less it is not worth a call.
    static let bytesMin = 16 << 10

    private var bytes = 1

    /// - Parameter missingBytes: of the frame that is being received; 0 between frames.
    mutating func update(_ channel: any Channel, missingBytes: Int) {
        set(missingBytes < Self.bytesMin ? 1 : min(missingBytes, Self.bytesMax), channel)
    }

    /// A peer may be slow: what has come is looked at, however little.
    mutating func reset(_ channel: any Channel) { set(1, channel) }

    private mutating func set(_ wanted: Int, _ channel: any Channel) {
        guard wanted != bytes else { return }
        bytes = wanted
        // Without it the loop is woken more often, and a closed channel is woken no more.
        try? channel.syncOptions?.setOption(
            ChannelOptions.Types.SocketOption(level: .socket, name: .init(rawValue: SO_RCVLOWAT)), value: wanted)
    }
}
