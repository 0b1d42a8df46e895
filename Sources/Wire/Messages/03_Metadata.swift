// Metadata (key 3): names brokers, topics and partition leaders. Versions 0–13, flexible from 9.
// A null topic list means all topics; in v0 an empty one does.

import Model

package struct MetadataRequest: WireRequest {
    package typealias Response = MetadataResponse
    package static let api = APIKey.metadata
    package static let versions: ClosedRange<Int16> = 0...13
    package static let flexibleSince: Int16 = 9

    package var topics: [Topic]?
    package var allowAutoTopicCreation = true
    package var includeClusterAuthorizedOperations = false
    package var includeTopicAuthorizedOperations = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topics, "topics", nullableSince: 1)
        try w.field(&allowAutoTopicCreation, "allowAutoTopicCreation", since: 4)
        try w.field(&includeClusterAuthorizedOperations, "includeClusterAuthorizedOperations", since: 8, until: 10)
        try w.field(&includeTopicAuthorizedOperations, "includeTopicAuthorizedOperations", since: 8)
        try w.end()
    }

    package struct Topic: WireStruct {
        package var topicID = UUID128()
        package var name: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicID, "topicID", since: 10)
            try w.field(&name, "name", nullableSince: 10)
            try w.end()
        }
    }
}

package struct MetadataResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...13
    package static let flexibleSince: Int16 = 9

    package var throttleTimeMs: Int32 = 0
    package var brokers: [Broker] = []
    package var clusterID: String?
    package var controllerID: Int32 = -1
    package var topics: [Topic] = []
    package var clusterAuthorizedOperations: Int32 = .min
    package var errorCode = ErrorCode.none

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 3)
        try w.field(&brokers, "brokers")
        try w.field(&clusterID, "clusterID", since: 2)
        try w.field(&controllerID, "controllerID", since: 1)
        try w.field(&topics, "topics")
        try w.field(&clusterAuthorizedOperations, "clusterAuthorizedOperations", since: 8, until: 10)
        try w.field(&errorCode, "errorCode", since: 13)
        try w.end()
    }

    package struct Broker: WireStruct {
        package var nodeID: Int32 = 0
        package var host = ""
        package var port: Int32 = 0
        package var rack: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&nodeID, "nodeID")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.field(&rack, "rack", since: 1)
            try w.end()
        }
    }

    package struct Topic: WireStruct {
        package var errorCode = ErrorCode.none
        package var name: String?
        package var topicID = UUID128()
        package var isInternal = false
        package var partitions: [Partition] = []
        package var topicAuthorizedOperations: Int32 = .min

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&name, "name", nullableSince: 12)
            try w.field(&topicID, "topicID", since: 10)
            try w.field(&isInternal, "isInternal", since: 1)
            try w.field(&partitions, "partitions")
            try w.field(&topicAuthorizedOperations, "topicAuthorizedOperations", since: 8)
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var errorCode = ErrorCode.none
        package var partitionIndex: Int32 = 0
        package var leaderID: Int32 = 0
        package var leaderEpoch: Int32 = -1
        package var replicaNodes: [Int32] = []
        package var isrNodes: [Int32] = []
        package var offlineReplicas: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&leaderID, "leaderID")
            try w.field(&leaderEpoch, "leaderEpoch", since: 7)
            try w.field(&replicaNodes, "replicaNodes")
            try w.field(&isrNodes, "isrNodes")
            try w.field(&offlineReplicas, "offlineReplicas", since: 5)
            try w.end()
        }
    }
}
