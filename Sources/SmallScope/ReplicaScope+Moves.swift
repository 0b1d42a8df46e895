// One move of the replicas' world.

import Metadata
import Model
import Replication
import Wire

struct ReplicaChange {
    var row: StateRow
    var violation: String?
    var isBeyondBounds = false
}

extension ReplicaScope {
    mutating func take(_ move: ReplicaMove, in row: StateRow) -> Successor<ReplicaMove>? {
        var change = ReplicaChange(row: row)
        switch move {
        case .assign(let member, let state):
            let outline = metadata[Int(memories[row[memoryPart]].history[state])]
            let registration = outline.registration
            let brokers = outline.brokers.map { BrokerView(epoch: $0.epoch, eligible: $0.isEligible) }
            step(
                member, .assigned(AssignedState(number: state, registration: registration, brokers: brokers)), &change)
        case .produce(let member):
            let records = memories[row[memoryPart]].records
            spend(&change) { $0.records += 1 }
            step(member, .produced(UInt8(records + 1)), &change)
        case .flushed(let member): step(member, .flushed, &change)
        case .timer(let member, let timer):
            spend(&change) { $0.timeouts += 1 }
            step(member, .timer(timer), &change)
        case .fetch(let from, let to): fetch(from, to, &change)
        case .serve(let from, let to, let parks): serve(from, to, parks, &change)
        case .answer(let from, let to):
            var link = links[row[linkPart(from, to)]]
            guard case .answered(let answer) = link.live else { return nil }
            link.live = nil
            change.row[linkPart(from, to)] = links.number(link)
            step(from, .answered(answer), &change)
        case .stray(let from, let to, let index):
            var link = links[row[linkPart(from, to)]]
            let fetch = link.strays.remove(at: index)
            change.row[linkPart(from, to)] = links.number(link)
            step(to, .fetched(fetch), &change)
        case .giveUp(let from, let to, let stray):
            if members[row[from]].partition.role == .follower(leader: NodeID(to + 1)) {
                spend(&change) { $0.breaks += 1 }
            }
            drop(from, to, keepsStray: stray, &change)
        case .alter(let member): alter(member, &change)
        case .alterAnswered(let member):
            guard case .answered(let error, let answer, let proposal, let epoch) = alters[row[alterPart(member)]]
            else { return nil }
            change.row[alterPart(member)] = alters.number(.none)
            if members[row[member]].brokerEpoch == epoch {
                step(member, .isrAnswered(error, answer, proposal), &change)
            }
        case .alterLost(let member): loseAlter(member, &change)
        case .crash(let member, let image, let checkpointed, let strays):
            crash(member, image, checkpointed, strays, &change)
        case .register, .unfence, .fence: control(move, &change)
        }
        if change.isBeyondBounds || (change.row == row && change.violation == nil) { return nil }
        if change.violation == nil { judgeWhole(&change, since: row) }
        return Successor(move: move, row: change.row, violation: change.violation)
    }

    mutating func spend(_ change: inout ReplicaChange, _ count: (inout ReplicaMemory) -> Void) {
        var memory = memories[change.row[memoryPart]]
        count(&memory)
        change.row[memoryPart] = memories.number(memory)
    }

    // MARK: Fetching

    private mutating func fetch(_ from: Int, _ to: Int, _ change: inout ReplicaChange) {
        let member = members[change.row[from]]
        guard let next = member.partition.nextFetch(log: member.view) else { return }
        var link = links[change.row[linkPart(from, to)]]
        link.live = .sent(
            ReplicaFetch(
                replica: NodeID(from + 1), brokerEpoch: member.brokerEpoch, fetchOffset: next.offset,
                lastFetchedEpoch: next.lastFetchedEpoch, currentLeaderEpoch: next.currentLeaderEpoch,
                logStartOffset: 0), next)
        change.row[linkPart(from, to)] = links.number(link)
    }

    private mutating func serve(_ from: Int, _ to: Int, _ parks: Bool, _ change: inout ReplicaChange) {
        var link = links[change.row[linkPart(from, to)]]
        let (fetch, position): (ReplicaFetch, FollowerFetch)
        switch link.live {
        case .sent(let sent, let asked), .parked(let sent, let asked): (fetch, position) = (sent, asked)
        default: return
        }
        guard let place = step(to, .fetched(fetch), &change), let decision = steps[place].step.decision else { return }
        let records = steps[place].step.records
        // The step may have sent a proposal, never touched this link.
        var answer = ReplicaFetchAnswer(leaderEpoch: position.currentLeaderEpoch, highWatermark: -1, logStartOffset: 0)
        switch decision {
        case .error(let error): answer.error = error
        case .diverging(let epoch, let end): answer.diverging = EpochEnd(epoch: epoch, endOffset: end)
        case .read(_, let highWatermark):
            answer.highWatermark = highWatermark
            if !records.isEmpty {
                answer.batches = BatchSpan(
                    baseOffset: fetch.fetchOffset, nextOffset: fetch.fetchOffset + Offset(records.count))
            }
        }
        if parks {
            guard case .read = decision, records.isEmpty else {
                change.isBeyondBounds = true
                return
            }
            link.live = .parked(fetch, position)
        } else {
            link.live = .answered(FetchAnswer(position: position, answer: answer, records: records))
        }
        change.row[linkPart(from, to)] = links.number(link)
    }

    private mutating func drop(_ from: Int, _ to: Int, keepsStray: Bool, _ change: inout ReplicaChange) {
        var link = links[change.row[linkPart(from, to)]]
        switch link.live {
        case .sent(let fetch, _), .parked(let fetch, _):
            if keepsStray, link.strays.count < limits.straysPerLinkMax { link.strays.append(fetch) }
        default: break
        }
        link.live = nil
        change.row[linkPart(from, to)] = links.number(link)
    }

    private mutating func crash(
        _ member: Int, _ image: Int, _ checkpointed: Bool, _ strays: Bool, _ change: inout ReplicaChange
    ) {
        spend(&change) { $0.crashes += 1 }
        for other in 0..<Self.count where other != member {
            drop(member, other, keepsStray: strays, &change)
            var link = links[change.row[linkPart(other, member)]]
            if case .answered = link.live {} else { link.live = nil }
            link.strays = []
            change.row[linkPart(other, member)] = links.number(link)
        }
        let highWatermark = members[change.row[member]].partition.highWatermark
        step(member, .restarted(image: image, highWatermark: checkpointed ? highWatermark : nil), &change)
    }

    // MARK: The controller

    private mutating func record(_ controller: Controller, _ change: inout ReplicaChange) {
        guard let number = number(controller) else { return change.isBeyondBounds = true }
        spend(&change) { $0.history.append(number) }
        if let epoch = controller.image.partition(ReplicaMember.topic)?.leaderEpoch, epoch > limits.epochsMax {
            change.isBeyondBounds = true
        }
    }

    private mutating func alter(_ member: Int, _ change: inout ReplicaChange) {
        guard case .sent(let proposal, let epoch) = alters[change.row[alterPart(member)]] else { return }
        var memory = memories[change.row[memoryPart]]
        var controller = newest(memory)
        let before = controller.image.partition(ReplicaMember.topic)
        let decision = controller.alterPartition(
            Self.request(proposal, from: NodeID(member + 1), epoch),
            nextOffset: controller.image.lastOffset + 1, at: .zero)
        if !decision.records.isEmpty {
            guard memory.isrChanges < limits.isrChangesMax else {
                change.isBeyondBounds = true
                return
            }
            memory.isrChanges += 1
            change.row[memoryPart] = memories.number(memory)
            record(controller, &change)
            judgeExpansion(proposal, by: member, before, &change)
        }
        let partition = decision.response.topics.first?.partitions.first
        let error =
            decision.response.errorCode == .none
            ? partition?.errorCode ?? .unknownServerError : decision.response.errorCode
        var answer: ISRAnswer?
        if error == .none, let partition {
            answer = ISRAnswer(
                leaderID: partition.leaderID < 0 ? nil : partition.leaderID, leaderEpoch: partition.leaderEpoch,
                isr: partition.isr,
                recoveryState: LeaderRecoveryState(rawValue: partition.leaderRecoveryState) ?? .recovered,
                partitionEpoch: partition.partitionEpoch)
        }
        change.row[alterPart(member)] = alters.number(.answered(error, answer, proposal, epoch))
    }

    private static func request(
        _ proposal: ISRProposal, from id: NodeID, _ epoch: BrokerEpoch
    ) -> AlterPartitionRequest {
        var partition = AlterPartitionRequest.Partition()
        partition.leaderEpoch = proposal.leaderEpoch
        partition.partitionEpoch = proposal.partitionEpoch
        partition.leaderRecoveryState = proposal.recoveryState.rawValue
        partition.newIsrWithEpochs = proposal.isr.map { member in
            var state = AlterPartitionRequest.BrokerState()
            state.brokerID = member.id
            state.brokerEpoch = member.brokerEpoch
            return state
        }
        var topic = AlterPartitionRequest.Topic()
        topic.topicID = ReplicaMember.topic.topicID
        topic.partitions = [partition]
        var request = AlterPartitionRequest()
        request.brokerID = id
        request.brokerEpoch = epoch
        request.topics = [topic]
        return request
    }

    private mutating func loseAlter(_ member: Int, _ change: inout ReplicaChange) {
        spend(&change) { $0.breaks += 1 }
        let proposal: ISRProposal
        let epoch: BrokerEpoch
        switch alters[change.row[alterPart(member)]] {
        case .none: return
        case .sent(let sent, let by): (proposal, epoch) = (sent, by)
        case .answered(_, _, let sent, let by): (proposal, epoch) = (sent, by)
        }
        change.row[alterPart(member)] = alters.number(.none)
        if members[change.row[member]].brokerEpoch == epoch {
            step(member, .isrAnswered(.requestTimedOut, nil, proposal), &change)
        }
    }

    private mutating func control(_ move: ReplicaMove, _ change: inout ReplicaChange) {
        var controller = newest(memories[change.row[memoryPart]])
        let next = controller.image.lastOffset + 1
        switch move {
        case .register(let member):
            var request = BrokerRegistrationRequest()
            request.brokerID = NodeID(member + 1)
            // Each life of a broker has its own.
            request.incarnationID = UUID128(high: UInt64(next), low: UInt64(member + 1))
            request.previousBrokerEpoch = members[change.row[member]].previousEpoch
            let decision = controller.registered(
                request, directoryID: Self.directory(NodeID(member + 1)), endpoint: Endpoint(host: "", port: 1),
                nextOffset: next, at: .zero)
            record(controller, &change)
            step(member, .registered(decision.response.brokerEpoch), &change)
        case .unfence(let member), .fence(let member):
            var request = BrokerHeartbeatRequest()
            request.brokerID = NodeID(member + 1)
            request.brokerEpoch = controller.image.brokers[request.brokerID]?.epoch ?? -1
            if case .fence = move {
                request.wantFence = true
                if members[change.row[member]].brokerEpoch == request.brokerEpoch {
                    spend(&change) { $0.fences += 1 }
                }
            }
            request.currentMetadataOffset = .max
            let decision = controller.heartbeatReceived(request, nextOffset: next, at: .zero)
            guard !decision.records.isEmpty else { return }
            record(controller, &change)
        default: break
        }
    }

    static func directory(_ id: NodeID) -> UUID128 { UUID128(high: 9, low: UInt64(id)) }

    // MARK: Steps

    @discardableResult
    mutating func step(_ index: Int, _ input: ReplicaInput, _ change: inout ReplicaChange) -> Int? {
        let key = UInt64(change.row[index]) << 32 | UInt64(inputs.number(input))
        let place: Int
        if let found = known[key] {
            place = found
        } else {
            let step = members[change.row[index]].stepped(input, bug: limits.bug)
            place = steps.count
            steps.append(NumberedReplicaStep(member: number(step.member), step: step))
            known[key] = place
        }
        change.row[index] = steps[place].member
        for proposal in steps[place].step.proposals {
            // One at a time: an earlier one that is still under way is lost.
            let epoch = members[change.row[index]].brokerEpoch
            change.row[alterPart(index)] = alters.number(.sent(proposal, epoch))
        }
        for fact in steps[place].step.facts where change.violation == nil { judge(fact, of: index, &change) }
        return place
    }
}
