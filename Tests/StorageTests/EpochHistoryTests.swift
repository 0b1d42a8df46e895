// What a history of leader epochs takes, and what it leaves out.

import Model
import Testing

@Suite struct EpochHistoryTests {
    private func history(_ assigned: (LeaderEpoch, Offset)...) -> EpochHistory {
        var history = EpochHistory()
        for (epoch, offset) in assigned { history.assign(epoch, startOffset: offset) }
        return history
    }

    @Test func noEpochBelowZeroIsTaken() {
        #expect(history((-1, 0)).entries.isEmpty)
        #expect(history((-1, 0), (0, 0), (-7, 4)).description == "[0@0]")
        var empty = EpochHistory()
        let isTaken = empty.assign(-1, startOffset: 0)
        #expect(!isTaken)
    }

    @Test func anEpochThatIsNotAboveTheLatestChangesNothing() {
        #expect(history((3, 10), (3, 12), (2, 5)).description == "[3@10]")
    }

    @Test func anEpochWithoutRecordsIsDroppedByTheNext() {
        #expect(history((1, 0), (2, 8), (4, 8)).description == "[1@0 4@8]")
    }
}
