// The batches of one partition on their way from `append` to an acknowledgement, in the order of their records.

import Model
import NIOCore
import Records

/// Records that travel together. `Token` is what the owner of the machine gets back for each of them.
package struct OutgoingBatch<Token: Sendable>: Sendable {
    /// Its place among all batches of the producer, by the time of its first record. A batch that is split leaves the
    /// second half of its span of numbers to its second half.
    package var number: Int
    package var span = 1 << 32
    package var builder: RecordBatchBuilder
    package var tokens: [Token?] = []
    package var timestampsMs: [Int64] = []
    /// What the records took of the producer's buffer.
    package var bufferedBytes = 0
    package let expiresAt: Instant
    package let lingersUntil: Instant
    /// The sequence of the first record, once it was sent by an idempotent producer.
    package var baseSequence: Int32?
    package var attempts = 0
    /// Whether the cluster may hold the batch although it did not say so.
    package var isInDoubt = false
    /// A request with it was lost on its way, and may yet arrive. Unlike `isInDoubt` nothing that a later attempt is
    /// told ends this.
    package var wasLost = false
    /// Its place among the batches of its partition by the first time it was sent.
    package var ordinal: Int?
    /// Half of a batch that was in doubt when it was split. If the cluster holds the whole it recognises no half: its
    /// refusal does not say that the records are missing.
    package var isHalfOfDoubt = false
    package var lastError: String?

    /// The cluster has deleted where the batch may have been.
    package mutating func forgetDoubt() { (isInDoubt, wasLost, isHalfOfDoubt) = (false, false, false) }
}

package struct PartitionQueue<Token: Sendable>: Sendable {
    package var leader: NodeID?
    package var leaderEpoch: LeaderEpoch = -1
    /// The leader has shown that it leads no more; a newer epoch or another look at the metadata clears this.
    package var isLeaderStale = false
    /// Takes records.
    package var open: OutgoingBatch<Token>?
    /// Closed and not on their way.
    package var ready = CircularBuffer<OutgoingBatch<Token>>()
    package var inFlight: [OutgoingBatch<Token>] = []
    /// Came back to be sent again. They wait until nothing is in flight, so that the order is theirs again.
    package var returned: [OutgoingBatch<Token>] = []
    package var retryAt = Instant.zero
    package var retryPauseMs: Int64 = 0
    package var nextSequence: Int32 = 0
    package var lastOrdinal = 0
    /// −1: none yet.
    package var producerID: ProducerID = -1
    package var producerEpoch: Int16 = -1
    /// The cluster has taken a batch under this producer id and epoch, so that it sees a gap before the next.
    package var isRecognised = false
    /// Listed among those that have something to do.
    package var isActive = false
    /// A batch failed for good after it had taken sequence numbers: the cluster misses them.
    package var hasSequenceGap = false

    package init() {}

    package var isIdle: Bool { open == nil && ready.isEmpty && inFlight.isEmpty && returned.isEmpty }

    /// Moves what takes records to what is ready.
    package mutating func closeOpen() {
        guard let batch = open else { return }
        open = nil
        ready.append(batch)
    }

    /// Puts what came back in front again once nothing is on its way.
    package mutating func settle() {
        guard inFlight.isEmpty, !returned.isEmpty else { return }
        returned.sort { $0.number > $1.number }
        for batch in returned { ready.prepend(batch) }
        returned = []
    }

    /// Starts the sequence anew, under a new producer id or the next epoch of this one, for all that is not on its way.
    /// Only when the cluster is known not to hold the first batch that waits, and so none behind it. False when the id
    /// has no epoch left.
    package mutating func startSequenceAnew(_ identity: ProducerIdentity) -> Bool {
        if identity.id != producerID {
            (producerID, producerEpoch) = (identity.id, identity.epoch)
        } else {
            guard producerEpoch < .max else { return false }
            producerEpoch += 1
        }
        nextSequence = 0
        hasSequenceGap = false
        isRecognised = false
        for index in ready.indices {
            ready[index].baseSequence = nil
            ready[index].ordinal = nil
            (ready[index].isInDoubt, ready[index].isHalfOfDoubt) = (false, false)
        }
        return true
    }

    /// Sequences wrap to 0 after 2³¹ − 1.
    package mutating func takeSequence(count: Int) -> Int32 {
        let first = nextSequence
        nextSequence = Int32((Int64(first) + Int64(count)) & 0x7FFF_FFFF)
        return first
    }

    /// The pause before the next attempt; it doubles with each.
    package mutating func pause(_ range: ClosedRange<Int64>, from now: Instant) {
        retryPauseMs = retryPauseMs == 0 ? range.lowerBound : min(retryPauseMs * 2, range.upperBound)
        retryAt = now.advanced(byMs: retryPauseMs)
    }
}

package struct ProducerIdentity: Equatable, Sendable {
    package var id: ProducerID
    package var epoch: Int16

    package init(id: ProducerID, epoch: Int16) {
        self.id = id
        self.epoch = epoch
    }
}
