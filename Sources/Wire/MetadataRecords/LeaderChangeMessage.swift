// LeaderChangeMessage (control record):
// the first record of a metadata leader's epoch: who leads, and who voted for it (KIP-595).

import Model

package struct LeaderChangeMessage: WireControlRecord {
    package static let type = ControlRecordType.leaderChange
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 0

    package var version: Int16 = 1
    package var leaderID: Int32 = 0
    package var voters: [Voter] = []
    package var grantingVoters: [Voter] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&version, "version")
        try w.field(&leaderID, "leaderID")
        try w.field(&voters, "voters")
        try w.field(&grantingVoters, "grantingVoters")
        try w.end()
    }

    package struct Voter: WireStruct {
        package var voterID: Int32 = 0
        package var voterDirectoryID = UUID128()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&voterID, "voterID")
            try w.field(&voterDirectoryID, "voterDirectoryID", since: 1)
            try w.end()
        }
    }
}
