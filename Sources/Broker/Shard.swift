// A shard: the connections and partitions of one event loop, as one synchronous machine. Nothing in it is locked and
// nothing in it waits.

import Groups
import Metadata
import Model
import Replication
import Storage
import Wire

package final class Shard {
    let index: Int
    /// How many shards the node has.
    let shardCount: Int
    let configuration: NodeConfiguration
    /// What clients are told. Each shard has its own, because a message counts as changed while it is written.
    let advertised = Routes.advertised()
    let directory: DataDirectory
    let disk: any Disk

    /// The step's clock and effects; effects leave when the step is over.
    var reading: ClockReading
    var effects: [ShardEffect] = []

    var view: ClusterView
    var connections: [ConnectionID: ClientConnection] = [:]
    /// Connections on which an answer with parts of files waits for the one before it, or has waited: few, so that not
    /// all are looked through when a file goes.
    var sliceHolders: Set<ConnectionID> = []
    var replicas = SortedMap<TopicPartition, Replica>()
    /// Replicas by the owner number of their log's flush tickets.
    var owners: [UInt32: Replica] = [:]
    var nextOwner: UInt32 = 1

    var pendingProduces = SortedMap<UInt64, PendingProduce>()
    var pendingFetches = SortedMap<UInt64, PendingFetch>()
    var pendingDeletes = SortedMap<UInt64, PendingDelete>()
    var nextRequest: UInt64 = 0
    /// ISRs proposed in this step: they go to control together.
    var isrChanges: [ISRChange] = []
    /// Parked fetches to run again before this step ends.
    var wokenFetches = SortedMap<UInt64, Bool>()
    var mediumReads = MediumReads()
    /// Answers that several shards give together, and shares of other shards' fetches that are parked here.
    var gathers = SortedMap<UInt64, any Gathering>()
    var fetchParts = SortedMap<PartID, UInt64>()
    var timers = Timers<ShardTimer>()
    /// Of the partitions of `__consumer_offsets` that this shard leads.
    var coordinators = SortedMap<TopicPartition, Coordinator>()
    /// Those that still read their logs, in the order in which they began.
    var loading: [TopicPartition] = []
    var pendingGroupRequests = SortedMap<UInt64, PendingGroupRequest>()
    var groupOrigins = SortedMap<GroupTicket, GroupOrigin>()
    /// For look-ups only.
    var groupTickets: [PartID: [GroupTicket]] = [:]
    var pendingFinds = SortedMap<UInt64, PendingFind>()
    var findsPausedUntil = Instant.zero
    var sessions: FetchSessions
    var fetchers = SortedMap<LinkID, Fetcher>()
    var fetches = OutstandingRequests<OwnFetch>()
    var checkpoints = Checkpoints()
    /// Replicas whose new log start can be written, the writing under way, and whose producers' snapshots are.
    var startsReady = SortedMap<TopicPartition, Bool>()
    var startsUnderWay: StartsUnderWay?
    var startSnapshots = SortedMap<UInt64, TopicPartition>()
    /// Replicas whose turn to be opened has not come: neither open nor postponed.
    var unopened = UnopenedReplicas()
    /// Replicas that the disk keeps from being opened.
    var postponed = SortedMap<TopicPartition, PostponedReplica>()
    /// Replicas that this life of the node has looked through, or has only not been able to open: if they are LOST in
    /// the image, that word is done with.
    var soundWhileLost = SortedMap<TopicPartition, Bool>()
    /// Damaged replicas, and whom they ask for what they lack.
    var repairs = SortedMap<TopicPartition, ReplicaRepair>()
    var repairLinks = SortedMap<LinkID, RepairLink>()
    var repairFetches = OutstandingRequests<RepairFetch>()
    var repairSequence: UInt64 = 0
    var repairTimer: Timers<ShardTimer>.ID?
    var scrub: Scrub
    var cleaner: Cleaner
    var proofsForgottenAt: Instant
    var isStopping = false
    /// This start of the node was unfenced once: from then on its image is one that clients may go by.
    var isServing = false

    /// - Parameters:
    ///   - checkpoints: what lies in the data directory from before, by "topic-partition".
    ///   - secret: nobody outside can tell it from anything that the node shows.
    init(
        index: Int, of shardCount: Int, configuration: NodeConfiguration, directory: DataDirectory, disk: any Disk,
        checkpoints: Checkpoints, secret: UInt64, at reading: ClockReading
    ) {
        self.index = index
        self.shardCount = shardCount
        self.configuration = configuration
        self.directory = directory
        self.disk = disk
        self.checkpoints = checkpoints
        self.reading = reading
        scrub = Scrub(firstPassAt: reading.now.advanced(byMs: configuration.log.scrubIntervalMs / 60))
        proofsForgottenAt = reading.now
        cleaner = Cleaner(secrets: SeededRandom(seed: secret))
        self.sessions = FetchSessions(wallMs: reading.wallMs, shard: index, of: shardCount)
        self.view = ClusterView(image: .empty, clusterID: "", controllerID: nil, brokerEpoch: -1, incarnationID: .zero)
        timers.add(.checkpoint, at: reading.now.advanced(byMs: Checkpoints.intervalMs))
        timers.add(.partitions, at: reading.now.advanced(byMs: Self.partitionTickMs))
        timers.add(.retention, at: reading.now.advanced(byMs: configuration.log.retentionCheckIntervalMs))
        timers.add(.scrub, at: reading.now.advanced(byMs: Self.scrubTickMs))
        scheduleCleaner(inMs: configuration.log.cleanerBackoffMs)
        for path in checkpoints.damagedFiles {
            log(.warning, "\(path) is damaged: the logs are looked at from their beginning")
        }
    }

    /// How often leaders look for lagging followers.
    static let partitionTickMs: Int64 = 250

    package func step(_ input: ShardInput, at reading: ClockReading, into output: inout [ShardEffect]) {
        self.reading = reading
        switch input {
        case .connectionOpened(let id, let client):
            connections[id] = ClientConnection(id: id, client: client)
        case .frameReceived(let id, let frame): frameReceived(id, frame)
        case .frameRejected(let id, let fault): frameRejected(id, fault)
        case .connectionClosed(let id): connectionClosed(id)
        case .outboundDrained(let id):
            guard let connection = connections[id] else { break }
            connection.drained()
            updateReading(connection)
        case .link(let event): linkEvent(event)
        case .flushed(let ticket, let result): flushed(ticket, result)
        case .mailed(let mail): mailed(mail)
        case .ticked: openNext()
        }
        runTimers()
        expireRepairFetches()
        runWokenFetches()
        runFetchers()
        saveStarts()
        mailISRChanges()
        output += effects
        effects.removeAll(keepingCapacity: true)
    }

    /// When `.ticked` is wanted next; `.distantFuture`: not at all. Read after every step.
    package var nextDeadline: Instant {
        guard unopened.isEmpty else { return reading.now }
        return min(timers.nextDeadline, fetches.nextDeadline, repairFetches.nextDeadline)
    }

    private func mailed(_ mail: ShardMail) {
        switch mail {
        case .answered(let connection, let slot, let frame):
            if let frame { answer(connection, slot, [.bytes(frame)]) } else { close(connection, because: nil) }
        case .complained(let id, let reason): complain(id, reason)
        case .viewPublished(let view, let changes): viewPublished(view, changes)
        case .controllerChanged(let controllerID, let brokerEpoch):
            view.controllerID = controllerID
            view.brokerEpoch = brokerEpoch
        case .isrsAnswered(let decisions): for decision in decisions { isrAnswered(decision) }
        case .directoryAnswered(let topicPartition, let directory, let error):
            directoryAnswered(topicPartition, directory: directory, error)
        case .stopRequested: stop()
        case .partAsked(let part): partAsked(part)
        case .partAnswered(let answer): partAnswered(answer)
        case .partHurried(let id): partHurried(id)
        case .partCancelled(let id):
            partCancelled(id)
            abandonGroupRequests(id)
        case .partRefused(let id, let reason): close(id, because: reason)
        }
    }

    private func runTimers() {
        while let timer = timers.takeDue(at: reading.now) {
            switch timer {
            case .produce(let id): produceTimedOut(id)
            case .fetch(let id): fetchTimedOut(id)
            case .deleteRecords(let id): deleteTimedOut(id)
            case .coordinator(let key): coordinatorDue(key)
            case .loadGroups: loadGroups()
            case .findCoordinator(let number): findTimedOut(number)
            case .fetcher(let link): restEnded(link)
            case .checkpoint:
                writeCheckpoints()
                timers.add(.checkpoint, at: reading.now.advanced(byMs: Checkpoints.intervalMs))
            case .partitions:
                tickPartitions()
                timers.add(.partitions, at: reading.now.advanced(byMs: Self.partitionTickMs))
            case .repair: runRepairs()
            case .scrub:
                runScrub()
                timers.add(.scrub, at: nextScrubAt)
            case .cleaner: runCleaner()
            case .retention:
                checkRetention()
                timers.add(.retention, at: reading.now.advanced(byMs: configuration.log.retentionCheckIntervalMs))
            }
        }
    }

    private func tickPartitions() {
        watchFlushes()
        purgeRemovedSegments()
        openPostponed()
        for replica in replicas.values where replica.partition.nextDeadline <= reading.now {
            perform(on: replica) { $0.ticked(log: replica.logView, at: reading.now, into: &$1) }
        }
        sessions.expire(at: reading.now)
    }

    /// A disk that takes no barrier for `replica.lag.time.max.ms` is as good as gone: whoever leads on it must not go
    /// on.
    private func watchFlushes() {
        for replica in replicas.values {
            guard replica.log.isFlushUnderWay else {
                replica.flushWatch = nil
                continue
            }
            if let watch = replica.flushWatch, watch.end == replica.log.flushedEnd {
                let waitedMs = reading.now.milliseconds(since: watch.since)
                if waitedMs > configuration.timing.replicaLagTimeMaxMs {
                    return halt("\(replica.name): the disk has not flushed for \(waitedMs) ms; this node must not lead")
                }
            } else {
                replica.flushWatch = (replica.log.flushedEnd, reading.now)
            }
        }
    }

    func log(_ level: LogLine.Level, _ text: String) { effects.append(.log(LogLine(level, text))) }
}

enum ShardTimer: Equatable {
    case produce(UInt64)
    case fetch(UInt64)
    case fetcher(LinkID)
    case checkpoint
    case partitions
    case retention
    case repair
    case scrub
    case cleaner
    case deleteRecords(UInt64)
    case coordinator(TopicPartition)
    case loadGroups
    case findCoordinator(UInt64)
}
