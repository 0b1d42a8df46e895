// DeleteRecords (key 21), versions 0–2: raises the log start. Answered when it is on disk at every in-sync replica, so
// that no leader to come has the records; the answer carries the start that was reached.

import Metadata
import Model
import Replication
import Wire

/// A partition of a DeleteRecords that waits for its log to start at `offset`.
struct DeleteWaiter {
    var request: UInt64
    /// Which of the request's partitions.
    var index: Int
    var offset: Offset
}

/// A DeleteRecords whose answer waits.
struct PendingDelete {
    var context: RequestContext
    var response = DeleteRecordsResponse()
    /// For each partition in request order: topic and partition index in `response`.
    var places: [(topic: Int, partition: Int)] = []
    var waiting = 0
    var timer: Timers<ShardTimer>.ID?

    /// One partition has its outcome. Answers whether it was the last.
    mutating func settle(_ index: Int, lowWatermark: Offset, _ error: ErrorCode) -> Bool {
        let (topic, partition) = places[index]
        response.topics[topic].partitions[partition].lowWatermark = lowWatermark
        response.topics[topic].partitions[partition].errorCode = error
        waiting -= 1
        return waiting == 0
    }
}

/// Topics of the cluster's own, which must keep what they hold.
private let protectedTopics = [
    MetadataTopic.name, "__consumer_offsets", "__transaction_state", "__share_group_state",
]

extension Shard {
    func deleteRecords(_ request: DeleteRecordsRequest, _ context: RequestContext) {
        var pending = PendingDelete(context: context)
        let id = takeRequestNumber()
        var wanted: [(Replica, Offset)] = []
        for topic in request.topics {
            var answers = DeleteRecordsResponse.Topic()
            answers.name = topic.name
            for partition in topic.partitions {
                var place = DeleteRecordsResponse.Partition()
                place.partitionIndex = partition.partitionIndex
                switch deletion(in: topic.name, partition) {
                case .failure(let refusal):
                    place.lowWatermark = -1
                    place.errorCode = refusal.error
                case .success(let (replica, offset)):
                    place.lowWatermark = replica.visibleStart
                    if offset > replica.visibleStart {
                        replica.deleteWaiters.append(
                            DeleteWaiter(request: id, index: pending.places.count, offset: offset))
                        wanted.append((replica, offset))
                        pending.waiting += 1
                    }
                }
                pending.places.append((pending.response.topics.count, answers.partitions.count))
                answers.partitions.append(place)
            }
            pending.response.topics.append(answers)
        }
        guard pending.waiting > 0 else { return respond(pending.response, to: DeleteRecordsRequest.self, context) }
        pending.timer = timers.add(
            .deleteRecords(id), at: reading.now.advanced(byMs: Int64(max(0, request.timeoutMs))))
        pendingDeletes[id] = pending
        for (replica, offset) in wanted {
            perform(on: replica) { $0.startRequested(offset, log: replica.logView, at: reading.now, into: &$1) }
        }
    }

    private func deletion(
        in topic: String, _ asked: DeleteRecordsRequest.Partition
    ) -> Result<(Replica, Offset), Refusal> {
        if protectedTopics.contains(topic) { return .failure(Refusal(error: .invalidTopicException)) }
        switch leader(of: topic, asked.partitionIndex, epoch: -1) {
        case .failure(let refusal): return .failure(refusal)
        case .success(let replica):
            guard replica.settings.deletes else { return .failure(Refusal(error: .policyViolation)) }
            let highWatermark = replica.partition.highWatermark
            let offset = asked.offset == -1 ? highWatermark : asked.offset
            guard offset >= 0, offset <= highWatermark else { return .failure(Refusal(error: .offsetOutOfRange)) }
            return .success((replica, offset))
        }
    }

    /// The log start of a leader moved, and with it that of all who count.
    func completeDeletes(of replica: Replica) {
        let start = replica.visibleStart
        guard replica.deleteWaiters.contains(where: { $0.offset <= start }) else { return }
        let done = replica.deleteWaiters.filter { $0.offset <= start }
        replica.deleteWaiters.removeAll { $0.offset <= start }
        for waiter in done { settle(waiter, lowWatermark: start, .none) }
    }

    func failDeletes(of replica: Replica, _ error: ErrorCode) {
        let waiters = replica.deleteWaiters
        replica.deleteWaiters = []
        for waiter in waiters { settle(waiter, lowWatermark: -1, error) }
    }

    private func settle(_ waiter: DeleteWaiter, lowWatermark: Offset, _ error: ErrorCode) {
        guard var pending = pendingDeletes[waiter.request] else { return }
        if pending.settle(waiter.index, lowWatermark: lowWatermark, error) {
            pendingDeletes.removeValue(forKey: waiter.request)
            timers.cancel(pending.timer)
            respond(pending.response, to: DeleteRecordsRequest.self, pending.context)
        } else {
            pendingDeletes[waiter.request] = pending
        }
    }

    /// `timeoutMs` ran out: the deletion goes on, and the client is told that it is not done yet.
    func deleteTimedOut(_ id: UInt64) {
        guard var pending = pendingDeletes.removeValue(forKey: id) else { return }
        for replica in replicas.values where replica.deleteWaiters.contains(where: { $0.request == id }) {
            for waiter in replica.deleteWaiters where waiter.request == id {
                _ = pending.settle(waiter.index, lowWatermark: replica.visibleStart, .requestTimedOut)
            }
            replica.deleteWaiters.removeAll { $0.request == id }
        }
        respond(pending.response, to: DeleteRecordsRequest.self, pending.context)
    }
}
