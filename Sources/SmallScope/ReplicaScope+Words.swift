// The moves of the replicas' world in words, for a path that ends in a violation.

import Metadata
import Model
import Replication

extension ReplicaScope {
    package mutating func words(_ move: ReplicaMove, from row: StateRow) -> [String] {
        func at(_ index: Int) -> String { "replica \(index + 1)" }
        var lines: [String]
        switch move {
        case .assign(let member, let state): lines = ["\(at(member)) applies state \(state) of the metadata"]
        case .produce(let member): lines = ["\(at(member)): a client produces one record, acks=all"]
        case .flushed(let member): lines = ["\(at(member)): its log is durable as of the barrier"]
        case .timer(let member, .lagging(let id)): lines = ["\(at(member)) finds that \(id) lags"]
        case .timer(let member, .proposalRetry): lines = ["\(at(member)) sends its AlterPartition again"]
        case .fetch(let from, let to):
            let member = members[row[from]]
            let next = member.partition.nextFetch(log: member.view)
            lines = [
                "\(at(from)) fetches from \(to + 1): offset \(next?.offset ?? -1), last epoch "
                    + "\(next?.lastFetchedEpoch ?? -1), in epoch \(next?.currentLeaderEpoch ?? -1)"
            ]
        case .serve(let from, let to, let parks):
            lines = ["\(at(to)) sees the fetch of \(from + 1)" + (parks ? " and lets it wait" : " and answers")]
        case .answer(let from, let to): lines = ["\(at(from)) gets the answer of \(to + 1)"]
        case .stray(let from, let to, _): lines = ["\(at(to)) sees a late fetch of \(from + 1)"]
        case .giveUp(let from, let to, let stray):
            lines = ["\(at(from)) gives up its fetch from \(to + 1)" + (stray ? ", which is still on its way" : "")]
        case .alter(let member): lines = ["the controller decides on the AlterPartition of \(member + 1)"]
        case .alterAnswered(let member): lines = ["\(at(member)) gets the answer to its AlterPartition"]
        case .alterLost(let member): lines = ["\(at(member)): its AlterPartition or the answer is lost"]
        case .crash(let member, let image, let checkpointed, let strays):
            lines = [
                "\(at(member)) loses power and restarts with \(members[row[member]].images[image])"
                    + (checkpointed ? ", its high watermark checkpointed" : "")
                    + (strays ? ", its fetch still on its way" : "")
            ]
        case .register(let member): lines = ["broker \(member + 1) registers anew"]
        case .unfence(let member): lines = ["broker \(member + 1) is unfenced"]
        case .fence(let member): lines = ["broker \(member + 1) is fenced"]
        }
        guard let next = take(move, in: row) else { return lines }
        for index in 0..<Self.count where next.row[index] != row[index] {
            let member = members[next.row[index]]
            let partition = member.partition
            lines.append(
                "    \(at(index)): \(partition.role) in \(partition.leaderEpoch), log \(member.log), durable "
                    + "\(member.images[0].count), high watermark \(partition.highWatermark), ISR "
                    + "\(partition.isr), counted \(partition.maximalISR)")
        }
        let (before, after) = (memories[row[memoryPart]], memories[next.row[memoryPart]])
        if after.history.count > before.history.count, let number = after.history.last {
            let state = metadata[Int(number)].registration
            lines.append(
                "    metadata state \(after.history.count - 1): leader \(state.leader ?? -1) in "
                    + "\(state.leaderEpoch), ISR \(state.isr), ELR \(state.eligibleLeaderReplicas), partition epoch "
                    + "\(state.partitionEpoch)")
        }
        return lines
    }
}
