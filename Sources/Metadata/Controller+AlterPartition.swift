// AlterPartition (KIP-497): a leader proposes an ISR; the controller checks it in one fixed order (protocol.md §4.8).

import Model
import Wire

extension Controller {
    package mutating func alterPartition(
        _ request: AlterPartitionRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<AlterPartitionResponse> {
        var response = AlterPartitionResponse()
        guard let broker = image.brokers[request.brokerID], broker.epoch == request.brokerEpoch else {
            response.errorCode = .staleBrokerEpoch
            return Decision(records: [], response: response)
        }
        var batch = MetadataBatch(firstOffset: nextOffset)
        for topic in request.topics {
            var answered = AlterPartitionResponse.Topic()
            answered.topicID = topic.topicID
            for partition in topic.partitions {
                let key = TopicPartition(topic.topicID, partition.partitionIndex)
                answered.partitions.append(alter(key, partition, from: broker.id, &batch, at: now))
            }
            response.topics.append(answered)
        }
        return Decision(records: batch.records, response: response)
    }

    private mutating func alter(
        _ key: TopicPartition, _ proposal: AlterPartitionRequest.Partition, from sender: NodeID,
        _ batch: inout MetadataBatch, at now: Instant
    ) -> AlterPartitionResponse.Partition {
        var answer = AlterPartitionResponse.Partition()
        answer.partitionIndex = key.partition
        // Not held on to: the write below would copy all its partitions then.
        guard let topicConfig = image.topic(id: key.topicID).map(config(of:)) else {
            answer.errorCode = .unknownTopicId
            return answer
        }
        guard let partition = image.partition(key) else {
            answer.errorCode = .unknownTopicOrPartition
            return answer
        }
        answer.errorCode = check(proposal, against: partition, from: sender)
        guard answer.errorCode == .none else { return answer }
        var transition = PartitionTransition(key, partition, config: topicConfig, bug: settings.plantedBug)
        transition.targetISR = proposal.isr.map(\.brokerID)
        transition.targetRecoveryState = LeaderRecoveryState(rawValue: proposal.leaderRecoveryState) ?? .recovered
        if let record = transition.record(image: image) { write(.partitionChange(record), &batch) }
        let state = image.partition(key) ?? partition
        if let first = state.replicas.first, state.leader != first, state.isr.contains(first),
            !partition.isr.contains(first)
        {
            preferredDue[first] = now.advanced(byMs: settings.preferredLeaderDelayMs)
        }
        answer.leaderID = state.leader ?? -1
        answer.leaderEpoch = state.leaderEpoch
        answer.isr = state.isr
        answer.leaderRecoveryState = state.leaderRecoveryState.rawValue
        answer.partitionEpoch = state.partitionEpoch
        return answer
    }

    private func check(
        _ proposal: AlterPartitionRequest.Partition, against partition: PartitionRegistration, from sender: NodeID
    ) -> ErrorCode {
        // A leader that knows more than this controller proves that the controller is the stale one.
        if proposal.leaderEpoch > partition.leaderEpoch || proposal.partitionEpoch > partition.partitionEpoch {
            return .notController
        }
        if proposal.leaderEpoch < partition.leaderEpoch { return .fencedLeaderEpoch }
        if partition.leader != sender { return .invalidRequest }
        // Mutant: the ISR that the proposal does not start from is undone (M5).
        if proposal.partitionEpoch < partition.partitionEpoch,
            settings.plantedBug != .alterPartitionIgnoresPartitionEpoch
        {
            return .invalidUpdateVersion
        }
        let members = proposal.isr
        for (index, member) in members.enumerated() {
            let repeated = members[..<index].contains { $0.brokerID == member.brokerID }
            if repeated || !partition.replicas.contains(member.brokerID) { return .invalidRequest }
        }
        guard members.contains(where: { $0.brokerID == sender }) else { return .invalidRequest }
        guard let state = LeaderRecoveryState(rawValue: proposal.leaderRecoveryState) else { return .invalidRequest }
        if state == .recovering, members.count > 1 || partition.leaderRecoveryState == .recovered {
            return .invalidRequest
        }
        // KIP-841 and KIP-903: only a broker in service may join, and only the incarnation that was seen to catch up.
        // KIP-858: and no copy that its broker called lost.
        for member in members {
            guard let broker = image.brokers[member.brokerID], image.canLead(broker.id, partition),
                // Mutant: what the incarnation before had shown counts for this one (M5).
                member.brokerEpoch == -1 || member.brokerEpoch == broker.epoch
                    || settings.plantedBug == .alterPartitionIgnoresBrokerEpoch
            else { return .ineligibleReplica }
        }
        return .none
    }
}

extension AlterPartitionRequest.Partition {
    /// The proposed ISR in the form of v3; earlier versions name no epochs.
    fileprivate var isr: [AlterPartitionRequest.BrokerState] {
        guard newIsrWithEpochs.isEmpty else { return newIsrWithEpochs }
        return newIsr.map { id in
            var member = AlterPartitionRequest.BrokerState()
            member.brokerID = id
            return member
        }
    }
}
