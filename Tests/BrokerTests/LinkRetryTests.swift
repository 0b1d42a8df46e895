// When a link that failed is tried again.

import Broker
import Model
import Testing

struct LinkRetryTests {
    private var retry = LinkRetry()
    private var now = Instant.zero

    @Test mutating func afterResetsItIsTriedAtOnceAndThenSoon() {
        retry.connected(at: now)
        now = now.advanced(byMs: LinkRetry.stoodMs)
        let delays = (0..<8).map { _ in retry.delayMs(after: .reset, at: now) }
        #expect(delays == LinkRetry.earlyMs + [LinkTiming.retryMs, LinkTiming.retryMs])
        #expect(delays.first == 0)
    }

    @Test mutating func aPeerThatTakesConnectionsOnlyToDropThemIsNotAnsweredAtOnceForEver() {
        for _ in LinkRetry.earlyMs {
            retry.connected(at: now)
            _ = retry.delayMs(after: .reset, at: now)
        }
        retry.connected(at: now)
        #expect(retry.delayMs(after: .reset, at: now.advanced(byMs: 1)) == LinkTiming.retryMs)
        // One that stood is.
        retry.connected(at: now)
        #expect(retry.delayMs(after: .reset, at: now.advanced(byMs: LinkRetry.stoodMs)) == 0)
    }

    @Test mutating func whereNobodyListensThereIsTime() {
        #expect(retry.delayMs(after: .refused, at: now) == LinkTiming.retryMs)
        #expect(retry.delayMs(after: .timedOut, at: now) == LinkTiming.retryMs)
        #expect(retry.delayMs(after: .reset, at: now) == 0)
    }
}
