// CreatePartitions as a decision: a topic grows, it never shrinks.

import Model
import Wire

extension Controller {
    package mutating func createPartitions(
        _ request: CreatePartitionsRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<CreatePartitionsResponse> {
        if request.validateOnly {
            var trial = self
            var decision = trial.decidePartitions(request, nextOffset: nextOffset)
            decision.records = []
            return decision
        }
        return decidePartitions(request, nextOffset: nextOffset)
    }

    private mutating func decidePartitions(
        _ request: CreatePartitionsRequest, nextOffset: Offset
    ) -> Decision<CreatePartitionsResponse> {
        var batch = MetadataBatch(firstOffset: nextOffset)
        var response = CreatePartitionsResponse()
        var placement = Placement(image: image)
        let counts = Self.counts(request.topics.map(\.name))
        for topic in request.topics {
            var answer = CreatePartitionsResponse.TopicResult()
            answer.name = topic.name
            do throws(Refusal) {
                if counts[topic.name, default: 0] > 1 {
                    throw Refusal(.invalidRequest, "The request names this topic twice.")
                }
                guard let known = image.topic(named: topic.name) else {
                    throw Refusal(.unknownTopicOrPartition, "There is no topic '\(topic.name)'.")
                }
                let added = try addedPartitions(topic, to: known, &placement)
                for (place, replicas) in added.enumerated() {
                    let index = PartitionIndex(known.partitions.count + place)
                    writePartition(TopicPartition(known.id, index), replicas, &batch)
                }
            } catch {
                answer.errorCode = error.code
                answer.errorMessage = error.sentence
            }
            response.results.append(answer)
        }
        return Decision(records: batch.records, response: response)
    }

    private func addedPartitions(
        _ request: CreatePartitionsRequest.Topic, to topic: TopicImage, _ placement: inout Placement
    ) throws(Refusal) -> [[NodeID]] {
        let present = topic.partitions.count
        guard Int(request.count) != present else {
            throw Refusal(.invalidPartitions, "The topic has \(present) partition(s) as it is.")
        }
        guard Int(request.count) > present else {
            throw Refusal(
                .invalidPartitions,
                "The topic has \(present) partition(s) and cannot shrink to \(request.count).")
        }
        let added = Int(request.count) - present
        try checkPartitionCount(Int(request.count), added: added)
        let factor = topic.replicationFactor
        if let assignments = request.assignments {
            guard assignments.count == added else {
                throw Refusal(
                    .invalidReplicaAssignment,
                    "\(added) partition(s) would be added, but \(assignments.count) assignment(s) came along.")
            }
            for (place, assignment) in assignments.enumerated() {
                let index = PartitionIndex(present + place)
                try checkAssignment(assignment.brokerIDs, of: index, replicationFactor: factor)
            }
            return assignments.map(\.brokerIDs)
        }
        guard factor > 0 else { throw Refusal(.invalidReplicationFactor, "The topic has no replicas to go by.") }
        try checkReplicationFactor(factor, placement)
        return (0..<added).map { _ in placement.next(replicationFactor: factor) }
    }
}
