// FindCoordinator (key 10), versions 0–6: the leader of the partition of `__consumer_offsets` that a group belongs to.
// The first one who asks has the topic made. Who asks while there is no leader is answered when there is one, if that
// is soon: a client that is told "not now" comes back half a second later.

import Groups
import Metadata
import Model
import Wire

/// A FindCoordinator that waits for a leader.
struct PendingFind {
    var context: RequestContext
    var request: FindCoordinatorRequest
    var timer: Timers<ShardTimer>.ID
}

extension Shard {
    /// Answers of one connection come in order, so whatever follows waits as long.
    private static let findTimeoutMs: Int64 = 500
    /// How long nobody waits after one who waited in vain.
    private static let findPauseMs: Int64 = 5_000
    private static let groupKeyType: Int8 = 0
    private static let transactionKeyType: Int8 = 1

    func findCoordinator(_ request: FindCoordinatorRequest, _ context: RequestContext) {
        if request.keyType == Self.groupKeyType, view.image.topicID(named: GroupTopic.name) == nil {
            effects.append(.mail(.topicsMissed([GroupTopic.name])))
        }
        if let response = coordinators(request, context, isLastTry: reading.now < findsPausedUntil) {
            return respond(response, to: FindCoordinatorRequest.self, context)
        }
        let number = takeRequestNumber()
        let timer = timers.add(.findCoordinator(number), at: reading.now.advanced(byMs: Self.findTimeoutMs))
        pendingFinds[number] = PendingFind(context: context, request: request, timer: timer)
    }

    /// The image is another.
    func retryFinds() {
        for (number, pending) in pendingFinds {
            guard let response = coordinators(pending.request, pending.context, isLastTry: false) else { continue }
            pendingFinds.removeValue(forKey: number)
            timers.cancel(pending.timer)
            respond(response, to: FindCoordinatorRequest.self, pending.context)
        }
    }

    func findTimedOut(_ number: UInt64) {
        findsPausedUntil = reading.now.advanced(byMs: Self.findPauseMs)
        guard let pending = pendingFinds.removeValue(forKey: number),
            let response = coordinators(pending.request, pending.context, isLastTry: true)
        else { return }
        respond(response, to: FindCoordinatorRequest.self, pending.context)
    }

    func forgetFinds(of connection: ConnectionID) {
        for (number, pending) in pendingFinds where pending.context.connection == connection {
            pendingFinds.removeValue(forKey: number)
            timers.cancel(pending.timer)
        }
    }

    /// Nil: a key has no coordinator yet, and waiting may help.
    private func coordinators(
        _ request: FindCoordinatorRequest, _ context: RequestContext, isLastTry: Bool
    ) -> FindCoordinatorResponse? {
        let keys = context.header.version >= 4 ? request.coordinatorKeys : [request.key]
        var found: [FindCoordinatorResponse.Coordinator] = []
        for key in keys {
            let coordinator = coordinator(of: key, type: request.keyType)
            if coordinator.errorCode == .coordinatorNotAvailable, request.keyType == Self.groupKeyType, !isLastTry {
                return nil
            }
            found.append(coordinator)
        }
        var response = FindCoordinatorResponse()
        if context.header.version >= 4 {
            response.coordinators = found
        } else if let only = found.first {
            response.errorCode = only.errorCode
            response.errorMessage = only.errorMessage
            response.nodeID = only.nodeID
            response.host = only.host
            response.port = only.port
        }
        return response
    }

    private func coordinator(of key: String, type: Int8) -> FindCoordinatorResponse.Coordinator {
        var answer = FindCoordinatorResponse.Coordinator()
        answer.key = key
        answer.nodeID = -1
        answer.port = -1
        func refused(_ error: ErrorCode, _ message: String) -> FindCoordinatorResponse.Coordinator {
            answer.errorCode = error
            answer.errorMessage = message
            return answer
        }
        guard type == Self.groupKeyType else {
            return type == Self.transactionKeyType
                ? refused(.coordinatorNotAvailable, "Transactions are not served yet.")
                : refused(.invalidRequest, "There are no coordinators of type \(type).")
        }
        guard !key.isEmpty else { return refused(.invalidGroupId, "A group has a name.") }
        guard let topic = view.image.topic(named: GroupTopic.name), !topic.partitions.isEmpty else {
            return refused(.coordinatorNotAvailable, "\(GroupTopic.name) is being made.")
        }
        let partition = groupPartition(of: key, partitionCount: Int32(topic.partitions.count))
        guard let leader = topic.partitions[Int(partition)].leader, isLive(leader),
            let broker = view.image.brokers[leader]
        else { return refused(.coordinatorNotAvailable, "\(GroupTopic.name)-\(partition) has no leader.") }
        answer.nodeID = leader
        answer.host = broker.endpoint.host
        answer.port = Int32(broker.endpoint.port)
        return answer
    }
}
