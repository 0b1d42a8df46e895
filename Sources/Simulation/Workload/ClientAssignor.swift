// What the leader of a classic group deals out: everyone keeps what it has, as far as that is fair.

import NIOCore
import Wire

enum ClientAssignor {
    private struct Reader {
        var id: String
        var generation: Int32 = -1
        var owned: Set<GroupPlace> = []
        var given: [GroupPlace] = []
    }

    /// - Parameter isCooperative: nobody is given what another member still has; it is free in the next generation.
    static func assign(
        _ places: [GroupPlace], to members: [JoinGroupResponse.Member], isCooperative: Bool
    ) -> [SyncGroupRequest.Assignment] {
        var readers = members.map { member in
            var reader = Reader(id: member.memberID)
            guard isCooperative, let said = try? ConsumerProtocolSubscription.decode(member.metadata) else {
                return reader
            }
            reader.generation = said.generationID
            reader.owned = Set(
                said.ownedPartitions.flatMap { topic in
                    topic.partitions.map { GroupPlace(topic: topic.topic, partition: $0) }
                })
            return reader
        }
        guard !readers.isEmpty else { return [] }
        // Who slept through a generation claims what is another's by now: the newest claim holds (KIP-792).
        var owners: [GroupPlace: Int] = [:]
        for place in places {
            owners[place] = readers.indices.filter { readers[$0].owned.contains(place) }
                .max { readers[$0].generation < readers[$1].generation }
        }
        let share = (places.count + readers.count - 1) / readers.count
        var free: [GroupPlace] = []
        for place in places {
            if let owner = owners[place], readers[owner].given.count < share {
                readers[owner].given.append(place)
            } else {
                free.append(place)
            }
        }
        for place in free {
            guard let least = readers.indices.min(by: { readers[$0].given.count < readers[$1].given.count }) else {
                continue
            }
            // An owner who is to lose it gives it up first, and then joins again.
            if owners[place] == nil || owners[place] == least { readers[least].given.append(place) }
        }
        return readers.map { reader in
            var one = SyncGroupRequest.Assignment()
            one.memberID = reader.id
            var assignment = ConsumerProtocolAssignment()
            assignment.assignedPartitions = reader.given.map { place in
                var topic = ConsumerProtocolAssignment.TopicPartitions()
                topic.topic = place.topic
                topic.partitions = [place.partition]
                return topic
            }
            one.assignment = assignment.encode()
            return one
        }
    }
}
