// Producers: an idempotent one that retries until it knows, and a plain one that asks once and takes what comes.

import Model
import NIOCore
import Records
import Wire

/// One batch as its producer remembers it.
struct ProducedRecords {
    var values: [UInt64]
    /// Counts the batches of its partition.
    var number: Int
    var sequence: Int32
    /// Under way; nil: to be sent, again or at all.
    var isInFlight = false
    var attempts = 0
}

final class SimulatedProducer {
    private struct Lane {
        var batches: [ProducedRecords] = []
        var nextNumber = 0
        var nextSequence: Int32 = 0
        /// After a failure nothing is sent before all that is under way has ended.
        var mustDrain = false
        var notBefore: Int64 = 0
        /// Behind all that was acknowledged in earlier epochs.
        var epochStart: Offset = 0
        var acknowledgedEnd: Offset = 0
    }

    let client: SimulatedClient
    let topic: String
    let isIdempotent: Bool
    /// Nil: each batch draws its own.
    let acks: Int16?
    private var producerID: Int64?
    private var producerEpoch: Int16 = 0
    private var lanes: [Lane]
    private var nextValue: UInt64
    private var isAskingForID = false
    private var mustRenumber = false
    private var isAbandoned = false
    private var topicID: UUID128?
    private var turns = 0
    private var wantsNewEpoch = false
    private var anewUntil = 0
    static let inFlightMax = 5
    private static let backoffMs: Int64 = 50

    private var world: World { client.world }

    init(_ client: SimulatedClient, topic: String, isIdempotent: Bool, acks: Int16? = nil, partitions: Int32 = 0) {
        self.client = client
        self.topic = topic
        self.isIdempotent = isIdempotent
        self.acks = isIdempotent ? -1 : acks
        lanes = Array(repeating: Lane(), count: Int(partitions))
        nextValue = UInt64(client.number) << 32
    }

    var isDone: Bool { lanes.allSatisfy(\.batches.isEmpty) }

    /// The topic is gone, and nobody waits for what was on its way.
    func abandon() {
        isAbandoned = true
        lanes = []
    }

    func start(afterMs: Int64 = 500) {
        client.later("produces", ms: afterMs + client.lots.below(100)) { [unowned self] in turn() }
    }

    private func turn() {
        guard !isAbandoned, world.isLoaded || !isDone else { return }
        turns += 1
        // A topic may have grown. A process that began just now looks more often.
        if turns % (turns < anewUntil ? 5 : 50) == 0 { client.refresh() }
        if let known = client.topicIDs[topic], known != topicID {
            // Only a plain producer meets another topic of the same name.
            if topicID != nil { lanes = [] }
            topicID = known
        }
        for _ in lanes.count..<max(lanes.count, client.partitionCounts[topic] ?? 0) { lanes.append(Lane()) }
        if turns % 30 == 0, isIdempotent, world.swarm.bumpsEpochs, producerID != nil { wantsNewEpoch = true }
        if wantsNewEpoch, isDone { turns / 30 % 2 == 0 ? beginEpoch() : beginAnew() }
        if world.isLoaded, !wantsNewEpoch { makeBatch() }
        for partition in lanes.indices { pump(partition) }
        let pause = 1 + client.lots.below(2 * world.swarm.thinkMs)
        client.later("goes on producing", ms: pause) { [unowned self] in turn() }
    }

    /// As clients do after an error that leaves them in doubt: the same producer, the next epoch, sequences from 0.
    private func beginEpoch() {
        wantsNewEpoch = false
        guard producerID != nil else { return }
        producerEpoch += 1
        for lane in lanes.indices {
            lanes[lane].nextSequence = 0
            lanes[lane].epochStart = lanes[lane].acknowledgedEnd
        }
    }

    /// As a process that is started again: another producer, whom no leader knows.
    private func beginAnew() {
        wantsNewEpoch = false
        producerID = nil
        anewUntil = turns + 30
        for lane in lanes.indices { lanes[lane].nextSequence = 0 }
    }

    private func noteAcknowledged(_ key: TopicPartition, _ baseOffset: Offset, _ count: Int) {
        guard isIdempotent, Int(key.partition) < lanes.count else { return }
        let lane = Int(key.partition)
        if producerEpoch > 0, world.checkers.partitions.isBinding(key, world) {
            world.checkers.count(.i5)
            if baseOffset < lanes[lane].epochStart {
                world.violated(
                    "I5",
                    "a batch of epoch \(producerEpoch) was acknowledged at \(baseOffset) of \(key); the epochs before "
                        + "end at \(lanes[lane].epochStart)")
            }
        }
        lanes[lane].acknowledgedEnd = max(lanes[lane].acknowledgedEnd, baseOffset + Offset(count))
    }

    private func makeBatch() {
        guard !lanes.isEmpty else { return client.refresh() }
        let partition = Int(client.lots.below(Int64(lanes.count)))
        guard lanes[partition].batches.count < Self.inFlightMax + 2 else { return }
        let count = 1 + Int(client.lots.below(3))
        var values: [UInt64] = []
        for _ in 0..<count {
            values.append(nextValue)
            nextValue += 1
        }
        lanes[partition].batches.append(
            ProducedRecords(
                values: values, number: lanes[partition].nextNumber, sequence: lanes[partition].nextSequence))
        lanes[partition].nextNumber += 1
        lanes[partition].nextSequence += Int32(count)
    }

    // MARK: Sending

    private func pump(_ partition: Int) {
        guard let topicID = client.topicIDs[topic] else { return client.refresh() }
        guard !isIdempotent || producerID != nil else { return askForID() }
        let key = TopicPartition(topicID, Int32(partition))
        guard let leader = client.leader(of: key) else { return client.refresh() }
        guard world.now >= lanes[partition].notBefore else { return }
        let inFlight = lanes[partition].batches.count { $0.isInFlight }
        if lanes[partition].batches.first.map({ $0.isInFlight && $0.attempts > 1 }) ?? false { return }
        if lanes[partition].mustDrain {
            guard inFlight == 0 else { return }
            lanes[partition].mustDrain = false
        }
        // What is sent again goes alone: the leader remembers five batches, and ones sent meanwhile would push it out.
        let isRetry = (lanes[partition].batches.first?.attempts ?? 0) > 0 && inFlight == 0
        // Counted from the oldest that has no answer, though later ones may have theirs by another leader already: else
        // more than five would follow on one that is to be sent again.
        let limit = (lanes[partition].batches.first?.number ?? 0) + (isRetry ? 1 : Self.inFlightMax)
        for index in lanes[partition].batches.indices
        where lanes[partition].batches[index].number < limit && !lanes[partition].batches[index].isInFlight {
            lanes[partition].batches[index].isInFlight = true
            lanes[partition].batches[index].attempts += 1
            send(lanes[partition].batches[index], to: key, at: leader)
        }
    }

    private func send(_ records: ProducedRecords, to key: TopicPartition, at leader: NodeID) {
        var builder = RecordBatchBuilder(
            producerID: isIdempotent ? producerID ?? -1 : -1, producerEpoch: isIdempotent ? producerEpoch : -1,
            baseSequence: isIdempotent ? records.sequence : -1)
        for value in records.values {
            if topic == KeyedRecords.topic {
                KeyedRecords.append(value, to: &builder)
            } else {
                builder.append(timestamp: SimulatedNode.wallStartMs, key: nil, value: ByteBuffer(integer: value))
            }
        }
        var partition = ProduceRequest.Partition()
        partition.partitionIndex = key.partition
        partition.records = builder.build()
        var entry = ProduceRequest.Topic()
        entry.topicID = key.topicID
        entry.partitions = [partition]
        let acks = acks ?? [-1, 1, 0][Int(client.lots.below(3))]
        var request = ProduceRequest()
        request.acks = acks
        request.timeoutMs = 1_500
        request.topics = [entry]
        world.checkers.sent(records.values, to: key, isIdempotent: isIdempotent)
        let world = world
        client.ask(
            request, version: 13, of: leader, timeoutMs: 2_500, expectsAnswer: acks != 0,
            peek: { answer, node in
                guard let place = answer.topics.first?.partitions.first else { return }
                if place.errorCode == .kafkaStorageError { world.checkers.disks.refused(key, by: node, world) }
                guard place.errorCode == .none else { return }
                world.checkers.acknowledged(
                    Acknowledgement(key: key, baseOffset: place.baseOffset, values: records.values, acks: acks),
                    by: node, world)
            },
            then: { [unowned self] answer in ended(records, key, answer) })
    }

    private func ended(_ records: ProducedRecords, _ key: TopicPartition, _ answer: ProduceResponse?) {
        let partition = Int(key.partition)
        let error = answer?.topics.first?.partitions.first?.errorCode
        world.trace.note(
            world.now,
            "client \(client.number) hears of \(records.values) to partition \(partition): "
                + (error?.description ?? "nothing"))
        guard partition < lanes.count,
            let index = lanes[partition].batches.firstIndex(where: { $0.values == records.values })
        else { return }
        if error == ErrorCode.none, let place = answer?.topics.first?.partitions.first {
            noteAcknowledged(key, place.baseOffset, records.values.count)
        }
        if !isIdempotent || error == ErrorCode.none || error == .duplicateSequenceNumber {
            lanes[partition].batches.remove(at: index)
            if error != ErrorCode.none { client.refresh() }
            // As a network does that delivers twice: the same batch comes again although it was acknowledged, and must
            // be answered with what it got the first time (I2). Its answer ends nothing here.
            if isIdempotent, error == ErrorCode.none, client.lots.oneIn(16), let leader = client.leader(of: key) {
                send(records, to: key, at: leader)
            }
        } else {
            retry(partition, index, error)
        }
        pump(partition)
    }

    private func retry(_ partition: Int, _ index: Int, _ error: ErrorCode?) {
        lanes[partition].batches[index].isInFlight = false
        lanes[partition].mustDrain = true
        lanes[partition].notBefore = world.now + Self.backoffMs * 1_000_000
        client.refresh()
        guard let error, !error.isRetriable else { return }
        // Behind a batch that failed, the next one is out of order by nature.
        let isFirst = index == 0 && error == .outOfOrderSequenceNumber
        if error == .outOfOrderSequenceNumber && !isFirst { return }
        guard let topicID = client.topicIDs[topic] else { return }
        world.checkers.sequenceRefused(
            TopicPartition(topicID, Int32(partition)), lanes[partition].batches[index].values, error, world)
        // A lost asynchronous tail leaves no other way than to begin anew.
        producerID = nil
        mustRenumber = true
        for lane in lanes.indices { lanes[lane].mustDrain = true }
    }

    /// Under a new producer id sequences begin at 0.
    private func renumber() {
        mustRenumber = false
        for lane in lanes.indices {
            lanes[lane].nextSequence = 0
            for batch in lanes[lane].batches.indices {
                lanes[lane].batches[batch].sequence = lanes[lane].nextSequence
                lanes[lane].nextSequence += Int32(lanes[lane].batches[batch].values.count)
            }
        }
    }

    private func askForID() {
        guard !isAskingForID, !lanes.contains(where: { $0.batches.contains(where: \.isInFlight) }) else { return }
        isAskingForID = true
        var request = InitProducerIDRequest()
        request.transactionTimeoutMs = 60_000
        client.ask(request, version: 4, of: client.anyNode(), timeoutMs: 2_500) { [unowned self] answer in
            isAskingForID = false
            guard let answer, answer.errorCode == .none else { return }
            world.checkers.producerIDGiven(answer.producerID, world)
            if mustRenumber { renumber() }
            producerID = answer.producerID
            producerEpoch = answer.producerEpoch
            for lane in lanes.indices { lanes[lane].epochStart = 0 }
        }
    }
}
