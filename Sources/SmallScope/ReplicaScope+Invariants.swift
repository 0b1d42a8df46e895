// P1–P6, P8–P10 and P13 of reliability.md §5, over the whole world.

import Metadata
import Model
import Replication

extension ReplicaScope {
    mutating func judge(_ fact: ReplicaFact, of index: Int, _ change: inout ReplicaChange) {
        let member = members[change.row[index]]
        switch fact {
        case .violated(let words): change.violation = words
        case .led: led(index, member, &change)
        case .committed(let end, let maximalISR): committed(index, member, end, maximalISR, &change)
        case .followed(let end):
            held.p8 += 1
            let committed = memories[change.row[memoryPart]].committed
            if end > committed.count {
                change.violation =
                    "P8: follower \(index + 1) takes \(end) for committed, and that is "
                    + "\(committed.count)"
            } else if !member.log.starts(with: committed[..<Int(end)]) {
                change.violation =
                    "P2: follower \(index + 1) holds \(member.log) below its high watermark \(end), "
                    + "committed is \(committed)"
            }
        case .acknowledged(let ends, let isr, let maximalISR):
            held.p13 += 1
            acknowledged(index, member, ends, isr, maximalISR, &change)
        }
    }

    private mutating func led(_ index: Int, _ member: ReplicaMember, _ change: inout ReplicaChange) {
        var memory = memories[change.row[memoryPart]]
        let epoch = member.partition.leaderEpoch
        held.p10 += 1
        let incarnation = Int64(index + 1) * 1_000_000 + member.brokerEpoch
        let other = memory.leaders[Int(epoch)]
        if other != 0, other != incarnation {
            change.violation =
                "P10: replica \(index + 1) leads epoch \(epoch) as broker epoch "
                + "\(member.brokerEpoch), and so did \(other / 1_000_000) as \(other % 1_000_000)"
            return
        }
        memory.leaders[Int(epoch)] = incarnation
        change.row[memoryPart] = memories.number(memory)
        let owed = memory.committedIn.firstIndex { $0 >= epoch } ?? memory.committed.count
        if owed > 0 { held.p3 += 1 }
        if !member.log.starts(with: memory.committed[..<owed]) {
            change.violation =
                "P3: replica \(index + 1) leads epoch \(epoch) with \(member.log), and "
                + "\(memory.committed) is committed"
        }
    }

    private mutating func committed(
        _ index: Int, _ member: ReplicaMember, _ end: Offset, _ maximalISR: [NodeID], _ change: inout ReplicaChange
    ) {
        var memory = memories[change.row[memoryPart]]
        let epoch = member.partition.leaderEpoch
        held.p6 += 1
        let prefix = ReplicaLog(member.log.prefix(Int(end)))
        let shared = min(prefix.count, memory.committed.count)
        held.p1 += 1
        if prefix[..<shared] != memory.committed[..<shared] {
            change.violation =
                "P1: leader \(index + 1) of epoch \(epoch) commits \(prefix), and \(memory.committed) "
                + "is committed"
            return
        }
        if maximalISR.count < 2 {
            change.violation = "P6: leader \(index + 1) commits up to \(end) with \(maximalISR) in sync"
            return
        }
        for id in maximalISR where !members[change.row[Int(id) - 1]].holdsDurably(prefix) {
            change.violation =
                "P6: leader \(index + 1) commits \(prefix), and \(id) of the ISR \(maximalISR) has not "
                + "got it on disk: \(members[change.row[Int(id) - 1]].images)"
            return
        }
        while memory.committed.count < prefix.count {
            memory.committed.append(prefix[memory.committed.count])
            memory.committedIn.append(epoch)
        }
        change.row[memoryPart] = memories.number(memory)
    }

    private mutating func acknowledged(
        _ index: Int, _ member: ReplicaMember, _ ends: [Offset], _ isr: [NodeID], _ maximalISR: [NodeID],
        _ change: inout ReplicaChange
    ) {
        if isr.count < 2 {
            change.violation = "P13: leader \(index + 1) acknowledges \(ends) with \(isr) in sync"
            return
        }
        let committed = memories[change.row[memoryPart]].committed
        if Int(ends.max() ?? 0) > committed.count {
            change.violation = "P6: leader \(index + 1) acknowledges \(ends), committed is \(committed)"
        }
    }

    /// P9: whoever the controller takes in holds the leader's high watermark and all below its epoch's start, in the
    /// incarnation that showed it.
    mutating func judgeExpansion(
        _ proposal: ISRProposal, by leader: Int, _ before: PartitionRegistration?, _ change: inout ReplicaChange
    ) {
        let led = members[change.row[leader]]
        for member in proposal.isr where !(before?.isr.contains(member.id) ?? true) {
            held.p9 += 1
            let joined = members[change.row[Int(member.id) - 1]]
            let committed = memories[change.row[memoryPart]].committed
            if !joined.holdsDurably(committed) {
                change.violation =
                    "P9: \(member.id) enters the ISR by \(leader + 1) in epoch "
                    + "\(led.partition.leaderEpoch) with \(joined.images), committed is \(committed)"
            }
        }
    }

    // MARK: After every move

    mutating func judgeWhole(_ change: inout ReplicaChange, since row: StateRow) {
        for index in 0..<Self.count where change.violation == nil && change.row[index] != row[index] {
            compareLogs(of: index, &change)
        }
        guard change.violation == nil else { return }
        judgeController(since: row, &change)
        let number = memories[change.row[memoryPart]].history.last ?? 0
        judgeCandidates(metadata[Int(number)].registration, &change)
        for index in 0..<Self.count where change.violation == nil {
            guard let leads = outlines[Int(change.row[index])].leads else { continue }
            judgeLeader(index, leads, metadata[Int(number)].registration, &change)
            show(index, leads, &change)
        }
    }

    /// P4: whoever may be elected holds all that is committed.
    private mutating func judgeCandidates(_ partition: PartitionRegistration, _ change: inout ReplicaChange) {
        let memory = memories[change.row[memoryPart]]
        guard !memory.committed.isEmpty, change.violation == nil else { return }
        held.p4 += 1
        for id in partition.isr + partition.eligibleLeaderReplicas where change.violation == nil {
            let member = members[change.row[Int(id) - 1]]
            if !member.holdsDurably(memory.committed) {
                change.violation =
                    "P4: \(id) may be elected (ISR \(partition.isr), ELR "
                    + "\(partition.eligibleLeaderReplicas)) with \(member.images), committed is \(memory.committed)"
            }
        }
    }

    /// P9 and P10, of the controller's own state.
    private mutating func judgeController(since row: StateRow, _ change: inout ReplicaChange) {
        let memory = memories[change.row[memoryPart]]
        let before = memories[row[memoryPart]].history.count
        guard memory.history.count > before else { return }
        let outline = metadata[Int(memory.history[before])]
        let next = outline.registration
        held.p9 += 1
        let (isr, elr) = (next.isr, next.eligibleLeaderReplicas)
        var wrong: String?
        if !isr.allSatisfy(next.replicas.contains) { wrong = "P9: the ISR is not among the replicas" }
        if isr.contains(where: elr.contains) { wrong = "P9: ISR and ELR overlap" }
        if isr.count >= 2, !elr.isEmpty { wrong = "P9: an ELR beside a full ISR" }
        if isr.contains(where: { outline.brokers[Int($0) - 1].isFenced }) { wrong = "P9: a fenced broker in the ISR" }
        if let leader = next.leader, !isr.contains(leader) { wrong = "P9: the leader is not in the ISR" }
        if next.leaderRecoveryState != .recovered { wrong = "P3: an unclean election that nobody allowed" }
        let old = metadata[Int(memory.history[before - 1])].registration
        if old != next {
            held.p10 += 1
            if next.partitionEpoch <= old.partitionEpoch || next.leaderEpoch < old.leaderEpoch
                || (next.leader != old.leader && next.leaderEpoch == old.leaderEpoch)
            {
                wrong = "P10: a change without a new epoch"
            }
        }
        if let wrong { change.violation = "\(wrong): ISR \(isr), ELR \(elr), leader \(next.leader ?? -1)" }
    }

    /// P5: a leader that is not stale counts everybody who could be elected.
    private mutating func judgeLeader(
        _ index: Int, _ leads: ReplicaOutline.Leading, _ partition: PartitionRegistration,
        _ change: inout ReplicaChange
    ) {
        guard leads.epoch == partition.leaderEpoch, partition.leader == NodeID(index + 1), leads.isr >= 2 else {
            return
        }
        held.p5 += 1
        let maximal = leads.maximalISR
        for id in partition.isr where !maximal.contains(id) {
            change.violation = "P5: leader \(index + 1) counts \(maximal), and \(id) may be elected"
        }
        for id in partition.eligibleLeaderReplicas where !maximal.contains(id) {
            change.violation = "P5: leader \(index + 1) counts \(maximal), and \(id) may be elected"
        }
    }

    /// P8: the end that clients are shown never goes back from one epoch to the next.
    private mutating func show(_ index: Int, _ leads: ReplicaOutline.Leading, _ change: inout ReplicaChange) {
        guard let end = leads.visibleEnd else { return }
        let (shown, shownIn) = (memories[change.row[memoryPart]].shown, memories[change.row[memoryPart]].shownIn)
        guard leads.epoch >= shownIn else { return }
        held.p8 += 1
        if end < shown {
            change.violation =
                "P8: leader \(index + 1) shows the end \(end) in epoch \(leads.epoch), and \(shown) "
                + "was shown in epoch \(shownIn)"
            return
        }
        // Nothing shown binds nobody, in whichever epoch.
        guard end > 0, end != shown || leads.epoch != shownIn else { return }
        var memory = memories[change.row[memoryPart]]
        (memory.shown, memory.shownIn) = (end, leads.epoch)
        change.row[memoryPart] = memories.number(memory)
    }

    /// P2: equal epoch at an offset means equal entries up to there.
    private mutating func compareLogs(of index: Int, _ change: inout ReplicaChange) {
        for other in 0..<Self.count where other != index && change.violation == nil {
            let (a, b) = (change.row[index], change.row[other])
            let key = UInt64(min(a, b)) << 32 | UInt64(max(a, b))
            held.p2 += 1
            let holds: Bool
            if let known = compared[key] {
                holds = known
            } else {
                let (x, y) = (members[a], members[b])
                let below = Int(min(x.partition.highWatermark, y.partition.highWatermark))
                let last = (0..<min(x.log.count, y.log.count)).last { x.log[$0].epoch == y.log[$0].epoch }
                let upTo = max(below, last.map { $0 + 1 } ?? 0)
                holds = x.log.prefix(upTo) == y.log.prefix(upTo)
                compared[key] = holds
            }
            if !holds {
                change.violation =
                    "P2: replicas \(index + 1) and \(other + 1) hold \(members[a].log) and "
                    + "\(members[b].log)"
            }
        }
    }
}
