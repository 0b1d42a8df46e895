// Messages to an event loop from other threads, many in one hop.

import NIOConcurrencyHelpers
import NIOCore

/// However many messages are posted before the loop gets to them, they cost one hop and arrive together, in order.
/// What is posted before there is a receiver waits for it.
package final class Mailbox<Message: Sendable>: Sendable {
    private struct State {
        var waiting: [Message] = []
        var isHopUnderWay = false
    }

    private let state = NIOLockedValueBox(State())
    private let loop: any EventLoop
    private let receiver: NIOLoopBoundBox<(([Message]) -> Void)?>

    package init(loop: any EventLoop) {
        self.loop = loop
        receiver = .makeEmptyBox(valueType: (([Message]) -> Void).self, eventLoop: loop)
    }

    /// On the loop only.
    package func install(_ receiver: @escaping ([Message]) -> Void) {
        self.receiver.value = receiver
        deliver()
    }

    package func post(_ messages: [Message]) {
        let mustHop = state.withLockedValue { state in
            state.waiting.append(contentsOf: messages)
            defer { state.isHopUnderWay = true }
            return !state.isHopUnderWay
        }
        if mustHop { loop.execute { self.deliver() } }
    }

    private func deliver() {
        guard let receiver = receiver.value else {
            state.withLockedValue { $0.isHopUnderWay = false }
            return
        }
        let messages = state.withLockedValue { state in
            state.isHopUnderWay = false
            defer { state.waiting = [] }
            return state.waiting
        }
        if !messages.isEmpty { receiver(messages) }
    }
}
