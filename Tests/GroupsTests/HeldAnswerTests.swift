// Answers that wait for a commit: how long they may, what it means for the members, and what no end may take back.

import Groups
import Model
import Testing
import Wire

struct HeldAnswerTests {
    /// One answer of each kind waits: a commit, a join, a sync, a fetch, a description, a list, and a consumer's
    /// heartbeat.
    private func held() -> (desk: Desk, waiting: [GroupTicket]) {
        var desk = Desk()
        desk.commitsAtOnce = false
        desk.commit(nil, 5)
        desk.fetchAll()
        for name in ["b", "c"] { desk.enter(name, group: "j") }
        desk.advance(150)
        let isB = desk.coordinator.groups["j"]?.leaderID == desk.client("b").memberID
        let (leader, follower) = isB ? ("b", "c") : ("c", "b")
        desk.sync(leader, ["b": "B", "c": "C"], group: "j")
        desk.join(follower, group: "j")
        var describe = DescribeGroupsRequest()
        describe.groups = ["j"]
        desk.ask(.describeGroups(describe), version: 6)
        desk.ask(.listGroups(ListGroupsRequest()), version: 5)
        desk.consume("x", group: "h")
        return (desk, desk.asked.filter { desk.replies[$0] == nil })
    }

    @Test func nothingWaitsForEverForACommit() {
        var (desk, waiting) = held()
        #expect(waiting.count == 7)
        desk.advance(4_800)
        #expect(waiting.allSatisfy { desk.replies[$0] == nil })
        desk.advance(250)
        for ticket in waiting {
            let told = desk.replies[ticket].map(text) ?? "nothing"
            #expect(told.contains("\(ErrorCode.coordinatorNotAvailable)"), "\(ticket) was told \(told)")
        }
        // The commit comes late: nobody is told twice, and what was appended is there.
        let end = desk.end
        desk.commit()
        #expect(desk.answeredTwice.isEmpty)
        desk.commitsAtOnce = true
        #expect(desk.end == end)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
        #expect(desk.consume("x", group: "h")?.errorCode == ErrorCode.none)
        #expect(desk.synced(desk.sync("b", group: "j")).map { String(buffer: $0.assignment) } == "B")
        #expect(desk.coordinator.nextDeadline > desk.now)
    }

    @Test func whatIsCommittedInTimeIsTold() {
        var (desk, waiting) = held()
        desk.advance(4_800)
        desk.commit()
        for ticket in waiting {
            let told = desk.replies[ticket].map(text) ?? "nothing"
            #expect(!told.contains("\(ErrorCode.coordinatorNotAvailable)"), "\(ticket) was told \(told)")
        }
        desk.advance(1_000)
        #expect(desk.answeredTwice.isEmpty)
    }

    @Test func standingStillIsNotCounted() {
        var desk = Desk()
        desk.commitsAtOnce = false
        let first = desk.commit(nil, 1)
        desk.advance(3_000)
        let second = desk.commit(nil, 2)
        desk.now = desk.now.advanced(byMs: 60_000)
        // The first had its time before the loop hung, the second had 2 s of it.
        desk.fetchAll("other")
        let reading = desk.reading
        desk.input { $0.ticked(at: reading, into: &$1) }
        #expect(desk.commitError(first) == .coordinatorNotAvailable)
        desk.advance(2_900)
        #expect(desk.replies[second] == nil)
        desk.advance(200)
        #expect(desk.commitError(second) == .coordinatorNotAvailable)
    }

    @Test func sessionsBeginWhenTheAnswerLeaves() {
        var settings = GroupSettings()
        settings.offsetsCommitTimeoutMs = 60_000
        settings.consumerSessionTimeoutMs = 10_000
        var desk = Desk(settings: settings)
        desk.enter("a")
        desk.advance(150)
        desk.commitsAtOnce = false
        let sync = desk.sync("a", ["a": "x"])
        desk.consume("x", group: "h")
        desk.advance(9_900)
        desk.commit()
        #expect(desk.synced(sync)?.errorCode == ErrorCode.none)
        desk.advance(9_900)
        #expect(desk.group?.members.count == 1)
        #expect(desk.coordinator.groups["h"]?.consumer?.members.count == 1)
        desk.advance(200)
        #expect(desk.group?.members.count == 0)
        #expect(desk.coordinator.groups["h"]?.consumer?.members.count == 0)
    }

    /// A group of the same name tells nothing before the end of the former one is committed.
    @Test func newGroupDoesNotForgetTheEndOfTheOld() {
        var desk = Desk()
        desk.stable(["a"])
        desk.leave("a")
        desk.commitsAtOnce = false
        var delete = DeleteGroupsRequest()
        delete.groupsNames = ["g"]
        desk.ask(.deleteGroups(delete), version: 2)
        #expect(desk.group == nil)
        desk.join("b")
        #expect(desk.group != nil)
        var describe = DescribeGroupsRequest()
        describe.groups = ["g"]
        let described = desk.ask(.describeGroups(describe), version: 6)
        let fetched = desk.fetchAll()
        #expect(desk.replies[described] == nil)
        #expect(desk.replies[fetched] == nil)
        desk.commit()
        #expect(desk.replies[described] != nil)
        #expect(desk.offsets(fetched) == [])
    }
}
