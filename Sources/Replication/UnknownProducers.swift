// Producers that a leader has no batch of, and that do not begin at their first sequence: do earlier ones come yet?

import Model

/// What is unknown may be accepted at any sequence, since retention may have taken what was known (KIP-360). But
/// several batches are under way at a time, and when the first one was just refused, here or by another leader, the
/// second one would take its place, and the first be out of order for good when it comes again. So such a batch is
/// refused once, with an error that clients answer by sending all again in order; if the same batch comes again, there
/// was nothing before it.
///
/// A matter of one leader's memory alone: another one refuses once more.
package struct UnknownProducers: Equatable, Sendable {
    private struct Beginning: Hashable, Sendable {
        var epoch: Int16
        var baseSequence: Int32
    }

    private var refused = SortedMap<ProducerID, Beginning>()
    private let limit: Int

    package init(limit: Int = Limits.unknownProducersPerPartitionMax) { self.limit = limit }

    package var isEmpty: Bool { refused.isEmpty }

    /// A batch of a producer that has none in the log.
    package mutating func mayBegin(with batch: ProducedBatch) -> Bool {
        guard batch.producerID >= 0, batch.baseSequence > 0 else { return true }
        let beginning = Beginning(epoch: batch.producerEpoch, baseSequence: batch.baseSequence)
        guard let before = refused[batch.producerID], before.epoch == beginning.epoch else {
            guard refused.count < limit || refused[batch.producerID] != nil else { return true }
            refused[batch.producerID] = beginning
            return false
        }
        if beginning.baseSequence < before.baseSequence { refused[batch.producerID] = beginning }
        return beginning == before
    }

    /// It is known now.
    package mutating func began(_ id: ProducerID) { refused.removeValue(forKey: id) }
}
