// A rebalance from its first cause to the generation that ends it.

import Model
import Wire

extension Group {
    /// What a member's coming, going or changing leads to.
    mutating func rebalanceOrCompleteJoin(_ reason: RebalanceReason, _ step: inout GroupStep) {
        if state == .preparingRebalance {
            tryCompleteJoin(&step)
        } else {
            beginRebalance(reason, &step)
        }
    }

    mutating func membersRemoved(_ reason: RebalanceReason, _ step: inout GroupStep) {
        guard state != .empty else { return }
        if members.isEmpty { return becomeEmpty(reason, &step) }
        rebalanceOrCompleteJoin(reason, &step)
    }

    mutating func beginRebalance(_ reason: RebalanceReason, _ step: inout GroupStep) {
        answerParkedSyncs(.rebalanceInProgress, &step)
        for id in members.keys { members[id]?.owesSync = false }
        syncDeadline = nil
        let timeoutMs = rebalanceTimeoutMs
        let delayMs = min(step.settings.initialRebalanceDelayMs, timeoutMs)
        let isInitial = state == .empty && delayMs > 0
        var next = Rebalance(
            reason: reason, beganAt: step.now, deadline: step.now.advanced(byMs: timeoutMs),
            quietEnd: step.now.advanced(byMs: delayMs))
        next.quietUntil = isInitial ? min(step.now.advanced(byMs: step.settings.quietMs), next.quietEnd) : nil
        rebalance = next
        lastRebalance = LastRebalance(reason: reason, wallMs: step.at.wallMs)
        step.log(.rebalanceBegan(reason, generation: generation, state: state))
        move(to: .preparingRebalance, step)
        tryCompleteJoin(&step)
    }

    /// Someone came while the first members wait for company: more may be on their way.
    mutating func extendQuiet(_ step: GroupStep) {
        guard var rebalance, rebalance.quietUntil != nil else { return }
        rebalance.quietUntil = min(step.now.advanced(byMs: step.settings.quietMs), rebalance.quietEnd)
        self.rebalance = rebalance
    }

    /// Begins the generation as soon as all are there who can be expected.
    mutating func tryCompleteJoin(_ step: inout GroupStep) {
        guard state == .preparingRebalance, let rebalance else { return }
        guard members.values.allSatisfy(\.hasJoined) else { return }
        if let quietUntil = rebalance.quietUntil {
            let isWhole = companyBefore > 0 && members.count >= companyBefore && pendingMembers.isEmpty
            guard step.now >= quietUntil || isWhole else { return }
        } else if pendingMembers.values.contains(where: { $0.holdsUntil ?? .zero > step.now }) {
            return
        }
        completeJoin(&step)
    }

    /// All have joined, or the rebalance timeout has passed.
    private mutating func completeJoin(_ step: inout GroupStep) {
        guard let rebalance else { return }
        let waitedMs = step.now.milliseconds(since: rebalance.beganAt)
        let laggards = members.values.filter { !$0.hasJoined && $0.instanceID == nil }
        if !laggards.isEmpty {
            step.log(.laggardsRemoved(laggards.map(\.name), waitedMs: waitedMs))
            for member in laggards { remove(member.id, &step) }
        }
        if members.isEmpty { return becomeEmpty(rebalance.reason, &step) }
        let joined = membersInOrder.filter(\.hasJoined)
        guard let first = joined.first else {
            // Only static members that are away: nobody could assign. Their sessions end this.
            let deadline = step.now.advanced(byMs: max(rebalanceTimeoutMs, 1_000))
            self.rebalance?.deadline = deadline
            return step.log(.rebalanceWaits(members.values.map(\.name)))
        }
        if !joined.contains(where: { $0.id == leaderID }) { leaderID = first.id }
        generation = following(generation)
        protocolName = chosenProtocol()
        companyBefore = members.count
        self.rebalance = nil
        generationBeganAt = step.now
        syncDeadline = step.now.advanced(byMs: rebalanceTimeoutMs)
        move(to: .completingRebalance, step)
        // Whoever came last was waited for, if the others were there before.
        let last = joined.max { $0.joinedAt < $1.joinedAt }
        let isAwaited = joined.count > 1 && last?.joinedAt ?? step.now > rebalance.beganAt
        step.log(
            .generationBegan(
                generation, members: members.count, leader: members[leaderID ?? ""]?.name ?? first.name,
                protocolName: protocolName ?? "", tookMs: waitedMs, last: isAwaited ? last?.name : nil))
        for id in members.keys { members[id]?.isLoaded = false }
        for member in joined {
            guard let parked = member.parkedJoin else { continue }
            members[member.id]?.parkedJoin = nil
            members[member.id]?.owesSync = true
            answerJoin(member.id, parked, &step)
        }
    }

    /// The last member is gone.
    private mutating func becomeEmpty(_ reason: RebalanceReason, _ step: inout GroupStep) {
        generation = following(generation)
        protocolName = nil
        leaderID = nil
        isAssignmentUnknown = false
        rebalance = nil
        syncDeadline = nil
        move(to: .empty, step)
        step.log(.emptied(generation, reason))
        lastRebalance = LastRebalance(reason: reason, wallMs: step.at.wallMs)
        // A generation that was never written down needs no end.
        if isPersisted || !offsets.isEmpty || !obsolete.isEmpty {
            step.write = GroupWrite(records: obsolete + [metadataRecord(at: step.at)], then: .emptied)
        }
    }

    /// After the last number comes 1: 0 is a group that never had a generation.
    private func following(_ generation: Int32) -> Int32 { generation == .max ? 1 : generation + 1 }

    // MARK: Protocols

    /// Whether a member with these protocols leaves the group with one that all can speak.
    /// - Parameter withLoaded: count members of whom only the chosen protocol is known.
    func supports(_ request: JoinGroupRequest, replacing replaced: String?, withLoaded: Bool = true) -> Bool {
        guard !request.protocolType.isEmpty, !request.protocols.isEmpty else { return false }
        guard members.isEmpty || request.protocolType == protocolType else { return false }
        let others = members.values.lazy.filter { $0.id != replaced && (withLoaded || !$0.isLoaded) }
        return !commonProtocols(of: request.protocols, with: others.map(\.protocols)).isEmpty
    }

    /// Every member votes for the first of its protocols that all can speak. A draw goes to what the member that came
    /// first prefers.
    func chosenProtocol() -> String? {
        let voters = membersInOrder
        guard let first = voters.first else { return nil }
        let candidates = commonProtocols(of: first.protocols, with: voters.map(\.protocols))
        var votes: [String: Int] = [:]
        for voter in voters {
            if let choice = voter.protocols.first(where: { candidates.contains($0.name) }) {
                votes[choice.name, default: 0] += 1
            }
        }
        var best: (name: String, votes: Int)?
        for name in first.protocols.map(\.name) where candidates.contains(name) {
            if votes[name, default: 0] > best?.votes ?? -1 { best = (name, votes[name, default: 0]) }
        }
        return best?.name
    }

    // MARK: Deadlines

    /// Time has passed `nextDeadline`.
    mutating func ticked(_ step: inout GroupStep) {
        let forgotten = pendingMembers.filter { $0.value.deadline <= step.now }.map(\.key)
        if !forgotten.isEmpty {
            for id in forgotten { pendingMembers[id] = nil }
            step.log(.pendingMembersForgotten(forgotten))
        }
        for (id, pending) in pendingMembers {
            // What has passed is not waited for again.
            if let holdsUntil = pending.holdsUntil, holdsUntil <= step.now { pendingMembers[id]?.holdsUntil = nil }
        }
        expireSessions(&step)
        if let rebalance, step.write == nil {
            if step.now >= rebalance.deadline { completeJoin(&step) } else { tryCompleteJoin(&step) }
            if step.now >= rebalance.quietUntil ?? .distantFuture { self.rebalance?.quietUntil = nil }
        }
        if let syncDeadline, step.now >= syncDeadline, step.write == nil {
            self.syncDeadline = nil
            let missing = members.values.filter(\.owesSync)
            for member in missing { remove(member.id, &step) }
            if !missing.isEmpty { membersRemoved(.syncMissing(missing.map(\.name)), &step) }
        }
        if step.write == nil { tickConsumers(&step) }
    }

    private mutating func expireSessions(_ step: inout GroupStep) {
        let silent = members.values.filter { $0.canExpire && $0.sessionDeadline <= step.now }
        guard !silent.isEmpty else { return }
        let staysForever = step.settings.plantedBug == .silentMembersStay
        if staysForever || metadataEnd > step.committed {
            // Answers wait for a commit; who has not got its own cannot be blamed for silence.
            for member in silent { members[member.id]?.heard(at: step.now) }
            return
        }
        for member in silent { remove(member.id, &step) }
        membersRemoved(.membersSilent(silent.map(\.name)), &step)
    }
}
