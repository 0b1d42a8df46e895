// Answers on one short line each, for golden scripts.

import Groups
import Model
import NIOCore
import Wire

private func text(_ bytes: ByteBuffer) -> String { String(buffer: bytes) }

func text(_ response: GroupResponse) -> String {
    switch response {
    case .joinGroup(let answer):
        let members = answer.members.map { $0.memberID + ($0.groupInstanceID.map { "(\($0))" } ?? "") }
        return "join \(answer.errorCode) member=\(answer.memberID)"
            + (answer.errorCode == .none
                ? " generation=\(answer.generationID) protocol=\(answer.protocolName ?? "-") leader=\(answer.leader) "
                    + "members=\(members)" + (answer.skipAssignment ? " skipAssignment" : "") : "")
    case .syncGroup(let answer): return "sync \(answer.errorCode) '\(text(answer.assignment))'"
    case .heartbeat(let answer): return "heartbeat \(answer.errorCode)"
    case .leaveGroup(let answer):
        return "leave \(answer.errorCode) \(answer.members.map { "\($0.memberID):\($0.errorCode)" })"
    case .offsetCommit(let answer):
        return "commit "
            + answer.topics.flatMap { topic in
                topic.partitions.map { "\(topic.name)-\($0.partitionIndex):\($0.errorCode)" }
            }.joined(separator: " ")
    case .offsetFetch(let answer):
        return "offsets " + (answer.errorCode == .none ? "" : "\(answer.errorCode) ")
            + answer.groups.map { group in
                "\(group.groupID)" + (group.errorCode == .none ? "" : " \(group.errorCode)") + " "
                    + group.topics.flatMap { topic in
                        topic.partitions.map { "\(topic.name)-\($0.partitionIndex)=\($0.committedOffset)" }
                    }.description
            }.joined(separator: " ")
    case .offsetDelete(let answer):
        return "offsetDelete \(answer.errorCode) "
            + answer.topics.flatMap { topic in
                topic.partitions.map { "\(topic.name)-\($0.partitionIndex):\($0.errorCode)" }
            }.description
    case .deleteGroups(let answer): return "delete \(answer.results.map { "\($0.groupID):\($0.errorCode)" })"
    case .describeGroups(let answer):
        return "describe "
            + answer.groups.map { group in
                let members = group.members.map { "\($0.memberID)='\(text($0.memberAssignment))'" }
                return "\(group.groupID) \(group.errorCode) \(group.groupState) \(group.protocolData) \(members)"
            }.joined(separator: "; ")
    case .consumerGroupHeartbeat(let answer):
        let assignment = answer.assignment.map { given in
            given.topicPartitions.map { "\($0.topicID.low):\($0.partitions)" }.description
        }
        return "consumer \(answer.errorCode) member=\(answer.memberID ?? "-") epoch=\(answer.memberEpoch) "
            + "assignment=\(assignment ?? "as before")"
    case .consumerGroupDescribe(let answer):
        return "consumers "
            + answer.groups.map { "\($0.groupID) \($0.errorCode) \($0.groupState) \($0.groupEpoch)" }.description
    case .listGroups(let answer):
        return "list \(answer.errorCode) "
            + answer.groups.map { "\($0.groupID):\($0.protocolType):\($0.groupState)" }.description
    }
}
