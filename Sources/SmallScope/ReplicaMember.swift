// One replica of a partition with its log and what its broker does for it, in the small.

import Metadata
import Model
import Replication

/// One batch of a partition's log: the epoch it was written in, and which of the produced values it holds.
package struct ReplicaEntry: Hashable, Sendable, CustomStringConvertible {
    var epoch: Int8
    var value: UInt8

    package var description: String { "\(value)/\(epoch)" }
}

typealias ReplicaLog = [ReplicaEntry]

struct ReplicaMember: Hashable {
    var partition: Partition
    /// What a loss of power may leave of the log; the last is what the process sees.
    var images: [ReplicaLog]
    /// The image that the barrier under way will make the first.
    var barrier: Int?
    var isFlushWanted = false
    var flushedEnd: Offset
    var epochs: EpochHistory
    /// Which state of the metadata it has applied; −1: none yet.
    var applied = -1
    /// As its controller answered the registration; −1: not registered in this life.
    var brokerEpoch: BrokerEpoch
    /// The incarnation before, for the registration.
    var previousEpoch: BrokerEpoch
    /// Where the produced batches end that wait for the high watermark.
    var waiters: [Offset] = []

    var log: ReplicaLog { images[images.count - 1] }

    var view: LogView {
        LogView(startOffset: 0, endOffset: Offset(log.count), flushedEnd: flushedEnd, epochs: epochs)
    }

    func holdsDurably(_ prefix: ReplicaLog) -> Bool { images.allSatisfy { $0.starts(with: prefix) } }
}

/// A follower's fetch and, on its way back, the answer.
struct FetchAnswer: Hashable {
    var position: FollowerFetch
    var answer: ReplicaFetchAnswer
    var records: ReplicaLog
}

struct AssignedState: Hashable {
    var number: Int
    var registration: PartitionRegistration
    var brokers: [BrokerView]
}

enum ReplicaInput: Hashable {
    case assigned(AssignedState)
    case produced(UInt8)
    case flushed
    case timer(PartitionTimer)
    /// A replica's fetch; records are wanted for the answer.
    case fetched(ReplicaFetch)
    case answered(FetchAnswer)
    case isrAnswered(ErrorCode, ISRAnswer?, ISRProposal)
    case restarted(image: Int, highWatermark: Offset?)
    case registered(BrokerEpoch)
}

enum ReplicaFact: Hashable {
    case violated(String)
    /// Leads in a new epoch.
    case led
    case committed(Offset, maximalISR: [NodeID])
    case followed(Offset)
    /// acks=all was answered for these ends.
    case acknowledged([Offset], isr: [NodeID], maximalISR: [NodeID])
}

struct ReplicaStep {
    var member: ReplicaMember
    var facts: [ReplicaFact] = []
    var proposals: [ISRProposal] = []
    var decision: FetchDecision?
    var records: ReplicaLog = []
}
