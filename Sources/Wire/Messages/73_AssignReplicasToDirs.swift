// AssignReplicasToDirs (key 73): a broker tells the controller in which directory its replicas lie (KIP-858). Version
// 0, flexible.

import Model

package struct AssignReplicasToDirsRequest: WireRequest {
    package typealias Response = AssignReplicasToDirsResponse
    package static let api = APIKey.assignReplicasToDirs
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var brokerEpoch: Int64 = -1
    package var directories: [Directory] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.field(&directories, "directories")
        try w.end()
    }

    package struct Directory: WireStruct {
        package var id = UUID128()
        package var topics: [Topic] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&id, "id")
            try w.field(&topics, "topics")
            try w.end()
        }
    }

    package struct Topic: WireStruct {
        package var topicID = UUID128()
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicID, "topicID")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.end()
        }
    }
}

package struct AssignReplicasToDirsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var directories: [Directory] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&directories, "directories")
        try w.end()
    }

    package struct Directory: WireStruct {
        package var id = UUID128()
        package var topics: [Topic] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&id, "id")
            try w.field(&topics, "topics")
            try w.end()
        }
    }

    package struct Topic: WireStruct {
        package var topicID = UUID128()
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicID, "topicID")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var errorCode = ErrorCode.none

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.end()
        }
    }
}
