// FindCoordinator (key 10): finds the coordinator of groups or transactional ids. Versions 0–6, flexible from 3.

import Model

package struct FindCoordinatorRequest: WireRequest {
    package typealias Response = FindCoordinatorResponse
    package static let api = APIKey.findCoordinator
    package static let versions: ClosedRange<Int16> = 0...6
    package static let flexibleSince: Int16 = 3

    package var key = ""
    package var keyType: Int8 = 0
    package var coordinatorKeys: [String] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&key, "key", until: 3)
        try w.field(&keyType, "keyType", since: 1)
        try w.field(&coordinatorKeys, "coordinatorKeys", since: 4)
        try w.end()
    }
}

package struct FindCoordinatorResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...6
    package static let flexibleSince: Int16 = 3

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var errorMessage: String?
    package var nodeID: Int32 = 0
    package var host = ""
    package var port: Int32 = 0
    package var coordinators: [Coordinator] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 1)
        try w.field(&errorCode, "errorCode", until: 3)
        try w.field(&errorMessage, "errorMessage", since: 1, until: 3)
        try w.field(&nodeID, "nodeID", until: 3)
        try w.field(&host, "host", until: 3)
        try w.field(&port, "port", until: 3)
        try w.field(&coordinators, "coordinators", since: 4)
        try w.end()
    }

    package struct Coordinator: WireStruct {
        package var key = ""
        package var nodeID: Int32 = 0
        package var host = ""
        package var port: Int32 = 0
        package var errorCode = ErrorCode.none
        package var errorMessage: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&key, "key")
            try w.field(&nodeID, "nodeID")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage")
            try w.end()
        }
    }
}
