// What a history of leader epochs takes, and what it leaves out.

import Model
import Testing

@Suite struct EpochHistoryTests {
    @Test func noEpochBelowZeroIsTaken() {
        var history = EpochHistory()
        #expect(!history.assign(-1, startOffset: 0))
        #expect(history.entries.isEmpty)
        #expect(history.assign(0, startOffset: 0))
        #expect(!history.assign(-7, startOffset: 4))
        #expect(history.description == "[0@0]")
    }

    @Test func anEpochThatIsNotAboveTheLatestChangesNothing() {
        var history = EpochHistory()
        history.assign(3, startOffset: 10)
        #expect(!history.assign(3, startOffset: 12))
        #expect(!history.assign(2, startOffset: 5))
        #expect(history.description == "[3@10]")
    }

    @Test func anEpochWithoutRecordsIsDroppedByTheNext() {
        var history = EpochHistory()
        history.assign(1, startOffset: 0)
        history.assign(2, startOffset: 8)
        #expect(history.assign(4, startOffset: 8))
        #expect(history.description == "[1@0 4@8]")
    }
}
