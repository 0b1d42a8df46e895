// A copy that begins anew where its leader's log starts: what lies below is deleted, and yet its producers are
// remembered, or one of them that still waits for an answer would have its batch appended once more (I1, I4).

import Model
import NIOCore
import Replication
import Storage
import Wire

extension Shard {
    /// Bytes of producers in one answer, when that is reached.
    private static let producerBytesMax = 1 << 20

    /// A replica that is to begin anew hears of producers with that. False where other partitions have taken the room:
    /// its turn comes with the next answer, and until then it must not take its fork for committed.
    func tellProducers(
        of replica: Replica, _ decision: FetchDecision, _ index: Int, _ reader: FetchReader,
        _ answer: inout FetchResponse.Partition, _ round: inout FetchRound
    ) -> Bool {
        switch decision {
        case .diverging, .error(.offsetOutOfRange): break
        case .read, .error: return true
        }
        guard reader.replica != nil || reader.isRepair, replica.isLeader, replica.log.startOffset > 0,
            !replica.isUnderRepair
        else { return true }
        // Before they are put together: where hundreds of replicas begin anew, most must wait in each answer.
        let bytesMax = ProducerSnapshots.bytesMax(of: min(replica.producers.count, Limits.producersHandedOverMax))
        guard round.producerBytes == 0 || round.producerBytes + bytesMax <= Self.producerBytesMax else {
            (answer.highWatermark, answer.lastStableOffset, answer.logStartOffset) = (-1, -1, -1)
            round.cut.append(index)
            return false
        }
        let producers = ProducerSnapshots.encode(replica.producers.below(replica.partition.highWatermark))
        round.producerBytes += producers.readableBytes
        answer.producers = producers
        return true
    }

    /// - Parameter producers: what the leader remembers; nil where it did not say.
    func beginAnew(_ replica: Replica, at offset: Offset, _ producers: ProducerTable?) throws(LogError) {
        // An empty log that only moves goes on remembering what it was told.
        let isEmpty = replica.log.startOffset == replica.log.endOffset
        let known = producers ?? (isEmpty ? replica.producers : ProducerTable())
        try remember(known, below: offset, in: replica)
        try prepareCut(of: replica, to: offset, isWhole: true)
        try replica.log.truncateFully(startingAt: offset)
        try replica.rebuildProducers(on: disk)
        replica.log.requestFlush()
    }

    /// Before the cut, so that no crash leaves the new log without it. Beside the old one it does no harm: what the
    /// leader says is committed. Also when it is empty: a fork may have a snapshot of that name.
    func remember(_ producers: ProducerTable, below offset: Offset, in replica: Replica) throws(LogError) {
        guard offset > 0 else { return }
        do throws(DiskError) {
            try disk.replaceNow(
                path: ProducerSnapshots.path(replica.directory, offset),
                contents: ProducerSnapshots.encode(producers.below(offset)))
        } catch {
            throw .disk(error)
        }
    }
}
