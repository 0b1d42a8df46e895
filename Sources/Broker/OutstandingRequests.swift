// Requests of this node that wait for another node's answer: matched by correlation id, failed by link or by time.

import Model
import NIOCore
import Wire

struct OutstandingRequest<Purpose> {
    var purpose: Purpose
    var api: APIKey
    var version: Int16
    var link: LinkID?
    var deadline: Instant
}

struct OutstandingRequests<Purpose> {
    private var requests = SortedMap<Int32, OutstandingRequest<Purpose>>()
    /// Until then none expires. Read after every step: it is looked for anew only when it has passed, and may by then
    /// be that of a request that was answered.
    private(set) var nextDeadline = Instant.distantFuture
    private var nextCorrelationID: Int32 = 1

    mutating func add(_ purpose: Purpose, api: APIKey, version: Int16, link: LinkID?, deadline: Instant) -> Int32 {
        let id = nextCorrelationID
        nextCorrelationID = nextCorrelationID == .max ? 1 : nextCorrelationID + 1
        requests[id] = OutstandingRequest(purpose: purpose, api: api, version: version, link: link, deadline: deadline)
        nextDeadline = min(nextDeadline, deadline)
        return id
    }

    /// Nil, and nothing taken, when no such request waits for an answer on that link.
    mutating func take(_ correlationID: Int32, from link: LinkID?) -> OutstandingRequest<Purpose>? {
        guard let request = requests[correlationID], request.link == link else { return nil }
        requests.removeValue(forKey: correlationID)
        if requests.isEmpty { nextDeadline = .distantFuture }
        return request
    }

    mutating func takeAll(on link: LinkID) -> [OutstandingRequest<Purpose>] { takeAll { $0.link == link } }

    mutating func takeExpired(at now: Instant) -> [OutstandingRequest<Purpose>] {
        guard nextDeadline <= now else { return [] }
        defer { nextDeadline = requests.values.reduce(.distantFuture) { min($0, $1.deadline) } }
        return takeAll { $0.deadline <= now }
    }

    /// Of all requests under way, oldest first.
    var purposes: [Purpose] { requests.values.map(\.purpose) }

    private mutating func takeAll(where matches: (OutstandingRequest<Purpose>) -> Bool) -> [OutstandingRequest<Purpose>]
    {
        var taken: [OutstandingRequest<Purpose>] = []
        guard requests.values.contains(where: matches) else { return taken }
        for (id, request) in requests where matches(request) {
            taken.append(request)
            requests.removeValue(forKey: id)
        }
        return taken
    }
}
