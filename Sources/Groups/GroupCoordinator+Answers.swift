// How answers leave: at once, with the commit of what they tell, or as a refusal when that does not come.

import Model
import Wire

extension GroupCoordinator {
    mutating func reply(
        _ ticket: GroupTicket, _ response: GroupResponse, after: Offset, at now: Instant,
        into effects: inout [GroupEffect]
    ) {
        let isHasty =
            switch settings.plantedBug {
            case .groupAnswersNotHeld: true
            case .offsetsShownEarly: if case .offsetFetch = response { true } else { false }
            default: false
            }
        if after > committed, !isHasty {
            held.hold(ticket, response, after: after, at: now)
        } else {
            answer(ticket, response, into: &effects)
        }
    }

    mutating func answer(_ ticket: GroupTicket, _ response: GroupResponse, into effects: inout [GroupEffect]) {
        guard open.removeValue(forKey: ticket) != nil else { return }
        effects.append(.reply(ticket, response))
    }

    /// Lets go what waits for the high watermark.
    mutating func releaseHeld(at now: Instant, into effects: inout [GroupEffect]) {
        for reply in held.release(committed: committed) {
            answerHeld(reply.ticket, reply.response, at: now, into: &effects)
        }
    }

    /// The high watermark stands still, and nobody may wait for ever. What was appended stays appended: the client asks
    /// again, and finds it done or not.
    mutating func refuseHeld(at now: Instant, into effects: inout [GroupEffect]) {
        for ticket in held.takeDue(at: now, afterMs: settings.offsetsCommitTimeoutMs) {
            guard let call = open[ticket] else { continue }
            let refusal = call.request.refused(.coordinatorNotAvailable, version: call.version)
            answerHeld(ticket, refusal, at: now, into: &effects)
        }
    }

    private mutating func answerHeld(
        _ ticket: GroupTicket, _ response: GroupResponse, at now: Instant, into effects: inout [GroupEffect]
    ) {
        // Who waited for its answer could say nothing meanwhile: its session begins when the answer leaves.
        switch (open[ticket]?.request, response) {
        case (.joinGroup(let request), .joinGroup(let told)):
            groups[request.groupID]?.answerLeft(to: told.memberID, settings, at: now)
        case (.syncGroup(let request), _):
            groups[request.groupID]?.answerLeft(to: request.memberID, settings, at: now)
        case (.consumerGroupHeartbeat(let request), .consumerGroupHeartbeat(let told)) where request.memberEpoch >= 0:
            groups[request.groupID]?.answerLeft(to: told.memberID ?? request.memberID, settings, at: now)
        default: break
        }
        answer(ticket, response, into: &effects)
    }
}

extension Group {
    /// Moves the member's deadline later, never nearer.
    fileprivate mutating func answerLeft(to memberID: String, _ settings: GroupSettings, at now: Instant) {
        members[memberID]?.heard(at: now)
        consumer?.members[memberID]?.heard(settings, at: now)
    }
}
