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
    private var nextCorrelationID: Int32 = 1

    mutating func add(_ purpose: Purpose, api: APIKey, version: Int16, link: LinkID?, deadline: Instant) -> Int32 {
        let id = nextCorrelationID
        nextCorrelationID = nextCorrelationID == .max ? 1 : nextCorrelationID + 1
        requests[id] = OutstandingRequest(purpose: purpose, api: api, version: version, link: link, deadline: deadline)
        return id
    }

    /// Nil, and nothing taken, when no such request waits for an answer on that link.
    mutating func take(_ correlationID: Int32, from link: LinkID?) -> OutstandingRequest<Purpose>? {
        guard let request = requests[correlationID], request.link == link else { return nil }
        return requests.removeValue(forKey: correlationID)
    }

    mutating func takeAll(on link: LinkID) -> [OutstandingRequest<Purpose>] { takeAll { $0.link == link } }

    mutating func takeExpired(at now: Instant) -> [OutstandingRequest<Purpose>] { takeAll { $0.deadline <= now } }

    /// Of all requests under way, oldest first.
    var purposes: [Purpose] { requests.values.map(\.purpose) }

    var nextDeadline: Instant { requests.values.reduce(.distantFuture) { min($0, $1.deadline) } }

    private mutating func takeAll(where matches: (OutstandingRequest<Purpose>) -> Bool) -> [OutstandingRequest<Purpose>]
    {
        var taken: [OutstandingRequest<Purpose>] = []
        // Asked after every step, and nearly always in vain.
        guard requests.values.contains(where: matches) else { return taken }
        for (id, request) in requests where matches(request) {
            taken.append(request)
            requests.removeValue(forKey: id)
        }
        return taken
    }
}
