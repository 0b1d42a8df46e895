// AlterPartition (key 56): asks the controller to change an ISR (KIP-497, KIP-841). Versions 2–3, flexible from 0.

import Model

package struct AlterPartitionRequest: WireRequest {
    package typealias Response = AlterPartitionResponse
    package static let api = APIKey.alterPartition
    package static let versions: ClosedRange<Int16> = 2...3
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var brokerEpoch: Int64 = -1
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.field(&topics, "topics")
        try w.end()
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
        package var leaderEpoch: Int32 = 0
        package var newIsr: [Int32] = []
        package var newIsrWithEpochs: [BrokerState] = []
        package var leaderRecoveryState: Int8 = 0
        package var partitionEpoch: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.field(&newIsr, "newIsr", until: 2)
            try w.field(&newIsrWithEpochs, "newIsrWithEpochs", since: 3)
            try w.field(&leaderRecoveryState, "leaderRecoveryState")
            try w.field(&partitionEpoch, "partitionEpoch")
            try w.end()
        }
    }

    package struct BrokerState: WireStruct {
        package var brokerID: Int32 = 0
        package var brokerEpoch: Int64 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&brokerID, "brokerID")
            try w.field(&brokerEpoch, "brokerEpoch")
            try w.end()
        }
    }
}

package struct AlterPartitionResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 2...3
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&topics, "topics")
        try w.end()
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
        package var leaderID: Int32 = 0
        package var leaderEpoch: Int32 = 0
        package var isr: [Int32] = []
        package var leaderRecoveryState: Int8 = 0
        package var partitionEpoch: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.field(&leaderID, "leaderID")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.field(&isr, "isr")
            try w.field(&leaderRecoveryState, "leaderRecoveryState")
            try w.field(&partitionEpoch, "partitionEpoch")
            try w.end()
        }
    }
}
