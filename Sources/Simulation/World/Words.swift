// Inputs in a few words, for the trace.

import Broker
import NIOCore
import Wire

enum Words {
    static func of(_ input: ControlInput) -> String {
        switch input {
        case .link(let event): of(event)
        case .flushed(let ticket, let result): "flushed \(ticket) \(result)"
        case .mailed(let mail): of(mail)
        case .ticked: "tick"
        case .stopRequested: "stop requested"
        }
    }

    static func of(_ input: ShardInput) -> String {
        switch input {
        case .connectionOpened(let id, let client): "connection \(id) from \(client)"
        case .frameReceived(let id, let frame): "\(api(frame)) on \(id), \(frame.readableBytes) bytes"
        case .frameRejected(let id, let fault): "frame rejected on \(id): \(fault)"
        case .connectionClosed(let id): "connection \(id) closed"
        case .outboundDrained(let id): "connection \(id) drained"
        case .link(let event): of(event)
        case .flushed(let ticket, let result): "flushed \(ticket) \(result)"
        case .mailed(let mail): of(mail)
        case .ticked: "tick"
        }
    }

    private static func of(_ event: LinkEvent) -> String {
        switch event {
        case .connected(let link): "link \(link) connected"
        case .frameReceived(let link, let frame): "answer on link \(link), \(frame.readableBytes) bytes"
        case .failed(let link, let failure): "link \(link) failed: \(failure)"
        }
    }

    private static func of(_ mail: ControlMail) -> String {
        switch mail {
        case .request(let request): "mail: \(request.header.api) of \(request.client)"
        case .connectionClosed(_, let id): "mail: \(id) closed"
        case .isrsProposed(_, let changes):
            "mail: "
                + changes.map { change in
                    let proposal = change.proposal
                    return "partition \(change.topicPartition.partition) proposes ISR \(proposal.isr.map(\.id)) in "
                        + "epoch \(proposal.leaderEpoch)/\(proposal.partitionEpoch)"
                }.joined(separator: ", ")
        case .directoryAssigned(_, let key, let directory):
            "mail: partition \(key.partition) is in directory \(directory)"
        case .topicsMissed(let names): "mail: missed \(names)"
        case .shardStopped(_, let clean): "mail: shard stopped, clean \(clean)"
        }
    }

    private static func of(_ mail: ShardMail) -> String {
        switch mail {
        case .answered(let id, _, let frame): "mail: answer for \(id), \(frame?.readableBytes ?? -1) bytes"
        case .viewPublished(let view, _):
            "mail: image up to \(view.image.lastOffset), broker epoch \(view.brokerEpoch)"
        case .controllerChanged(let id, let epoch): "mail: controller \(id ?? -1), broker epoch \(epoch)"
        case .isrsAnswered(let decisions):
            "mail: "
                + decisions.map { decision in
                    "ISR of partition \(decision.change.topicPartition.partition) answered \(decision.error) "
                        + "\(decision.answer?.isr ?? [])"
                }.joined(separator: ", ")
        case .directoryAnswered(let key, let directory, let error):
            "mail: directory \(directory) of partition \(key.partition) answered \(error)"
        case .stopRequested: "mail: stop"
        case .partAsked(let part): "mail: share of \(part)"
        case .partAnswered(let answer): "mail: \(answer)"
        case .partHurried(let id): "mail: hurry with \(id)"
        case .partCancelled(let id): "mail: no more of \(id)"
        case .partRefused(let id, let reason): "mail: refusal to \(id): \(reason)"
        case .complained(let id, let reason): "mail: complaint about \(id): \(reason)"
        }
    }

    private static func api(_ frame: ByteBuffer) -> String {
        guard let key = frame.getInteger(at: frame.readerIndex, as: Int16.self) else { return "?" }
        return "\(APIKey(rawValue: key))"
    }
}
