// The ISRs that this node's leaders propose, told to the controller by AlterPartition (KIP-497).

import Model
import Replication
import Wire

struct WaitingISRChange {
    var shard: Int
    var proposal: ISRProposal
}

/// One AlterPartition under way.
struct ISRRequest {
    var changes: SortedMap<TopicPartition, WaitingISRChange>
    /// Of the quorum, when it was sent.
    var epoch: LeaderEpoch
}

struct ISRChanges {
    /// Not sent yet. A controller is asked one request at a time, and what comes up meanwhile goes together in the
    /// next: thousands of replicas come back within milliseconds, and each request is a batch of the metadata log.
    var waiting = SortedMap<TopicPartition, WaitingISRChange>()
    /// The quorum's epoch in which the newest request under way was sent. One that was sent to an earlier controller
    /// holds nothing up: that one may never answer.
    var askedInEpoch: LeaderEpoch?

    /// So that a decision stays a batch of some hundred KiB: no vote and no heartbeat waits behind a longer one.
    static let requestMax = 2_000

    fileprivate mutating func takeWaiting() -> SortedMap<TopicPartition, WaitingISRChange> {
        let taken = waiting
        waiting = SortedMap()
        guard taken.count > Self.requestMax else { return taken }
        waiting = SortedMap(zip(taken.keys, taken.values).dropFirst(Self.requestMax))
        return SortedMap(zip(taken.keys, taken.values).prefix(Self.requestMax))
    }
}

extension Control {
    func propose(_ changes: [ISRChange], _ shard: Int) {
        for change in changes {
            let older = isrChanges.waiting[change.topicPartition]
            isrChanges.waiting[change.topicPartition] = WaitingISRChange(shard: shard, proposal: change.proposal)
            // Overtaken before it was sent.
            if let older, older.proposal != change.proposal {
                tellShards(SortedMap([(change.topicPartition, older)])) { _ in (.requestTimedOut, nil) }
            }
        }
        sendISRChanges()
    }

    func sendISRChanges() {
        while !isrChanges.waiting.isEmpty, isrChanges.askedInEpoch == nil || isrChanges.askedInEpoch != raft?.epoch {
            let changes = isrChanges.takeWaiting()
            let epoch = raft?.epoch ?? -1
            isrChanges.askedInEpoch = epoch
            let message = AlterPartitionRequest(changes, brokerID: me, brokerEpoch: broker.epoch)
            let request = ISRRequest(changes: changes, epoch: epoch)
            if !askController(message, for: .alterPartition(request)) { isrRequestEnded(request, .requestTimedOut) }
        }
    }

    func isrsAnswered(_ answer: AlterPartitionResponse, _ request: ISRRequest) {
        // An error of the whole request speaks of this node, its epoch or the controller.
        guard answer.errorCode == .none else { return isrRequestEnded(request, answer.errorCode) }
        var answers = SortedMap<TopicPartition, AlterPartitionResponse.Partition>()
        for topic in answer.topics {
            for partition in topic.partitions {
                answers[TopicPartition(topic.topicID, partition.partitionIndex)] = partition
            }
        }
        end(request) { topicPartition in
            guard let partition = answers[topicPartition] else { return (.unknownServerError, nil) }
            guard partition.errorCode == .none else { return (partition.errorCode, nil) }
            return (.none, ISRAnswer(partition))
        }
    }

    /// All of its changes have the same outcome.
    func isrRequestEnded(_ request: ISRRequest, _ error: ErrorCode) { end(request) { _ in (error, nil) } }

    private func end(_ request: ISRRequest, _ outcome: (TopicPartition) -> (ErrorCode, ISRAnswer?)) {
        if isrChanges.askedInEpoch == request.epoch { isrChanges.askedInEpoch = nil }
        tellShards(request.changes, outcome)
        sendISRChanges()
    }

    private func tellShards(
        _ changes: SortedMap<TopicPartition, WaitingISRChange>,
        _ outcome: (TopicPartition) -> (ErrorCode, ISRAnswer?)
    ) {
        var decisions = SortedMap<Int, [ISRDecision]>()
        for (topicPartition, waiting) in changes {
            let (error, answer) = outcome(topicPartition)
            decisions[waiting.shard, default: []].append(
                ISRDecision(
                    change: ISRChange(topicPartition: topicPartition, proposal: waiting.proposal), error: error,
                    answer: answer))
        }
        for (shard, decisions) in decisions { effects.append(.mail(.isrsAnswered(decisions), toShard: shard)) }
    }
}

extension ISRAnswer {
    fileprivate init(_ partition: AlterPartitionResponse.Partition) {
        self.init(
            leaderID: partition.leaderID < 0 ? nil : partition.leaderID, leaderEpoch: partition.leaderEpoch,
            isr: partition.isr,
            recoveryState: LeaderRecoveryState(rawValue: partition.leaderRecoveryState) ?? .recovered,
            partitionEpoch: partition.partitionEpoch)
    }
}

extension AlterPartitionRequest {
    /// By topic, each in order.
    fileprivate init(
        _ changes: SortedMap<TopicPartition, WaitingISRChange>, brokerID: NodeID, brokerEpoch: BrokerEpoch
    ) {
        self.init()
        self.brokerID = brokerID
        self.brokerEpoch = brokerEpoch
        for (topicPartition, change) in changes {
            if topics.last?.topicID != topicPartition.topicID {
                var topic = Topic()
                topic.topicID = topicPartition.topicID
                topics.append(topic)
            }
            topics[topics.count - 1].partitions.append(Partition(topicPartition.partition, change.proposal))
        }
    }
}

extension AlterPartitionRequest.Partition {
    fileprivate init(_ index: Int32, _ proposal: ISRProposal) {
        self.init()
        partitionIndex = index
        leaderEpoch = proposal.leaderEpoch
        partitionEpoch = proposal.partitionEpoch
        leaderRecoveryState = proposal.recoveryState.rawValue
        newIsrWithEpochs = proposal.isr.map { member in
            var state = AlterPartitionRequest.BrokerState()
            state.brokerID = member.id
            state.brokerEpoch = member.brokerEpoch
            return state
        }
    }
}
