// What a member does with offsets: it commits them in the generation that it believes in, and looks at them.

import Broker
import Model
import Wire

extension SimulatedMember {
    func planCommit() {
        later(20 + lots.below(6 * world.swarm.thinkMs), "commits") { [unowned self] in
            if world.isLoaded {
                if coordinator != nil { lots.oneIn(5) ? showOffsets(of: owned.sorted()) : commit() }
            } else if !group.isShownAtEnd, isSettled, coordinator != nil {
                showOffsets(of: group.places)
            }
            planCommit()
        }
    }

    /// Commits for some of what it has, in the generation that it believes in.
    func commit(_ places: Set<GroupPlace>? = nil, in past: Int32? = nil) {
        let generation = past ?? self.generation
        let places = (places ?? owned).sorted().filter { _ in lots.oneIn(2) }
        guard let coordinator, !places.isEmpty, generation >= 0 else { return }
        var request = OffsetCommitRequest()
        request.groupID = group.name
        request.generationIDOrMemberEpoch = generation
        request.memberID = memberID
        request.groupInstanceID = instanceID
        let values = places.map { place in
            world.checkers.groups.newValue(
                for: SentCommit(
                    group: group.name, place: place, memberID: memberID, generation: generation,
                    isConsumers: !isClassic))
        }
        let version: Int16 = places.allSatisfy { topicID($0.topic) != nil } ? 9 + Int16(lots.below(2)) : 9
        for (place, value) in zip(places, values) {
            var entry = OffsetCommitRequest.Topic()
            entry.name = place.topic
            entry.topicID = topicID(place.topic) ?? .zero
            var partition = OffsetCommitRequest.Partition()
            partition.partitionIndex = place.partition
            partition.committedOffset = value
            entry.partitions = [partition]
            request.topics.append(entry)
        }
        let asked = asked()
        ask(
            request, version: version, of: coordinator,
            peek: { [unowned world] answer, node in
                for (topic, value) in zip(answer.topics, values)
                where topic.partitions.first?.errorCode == ErrorCode.none {
                    world.checkers.groups.commitAcknowledged(value, asked, by: node, world)
                }
            },
            then: { [unowned self] answer in
                let errors = answer.map { $0.topics.compactMap { $0.partitions.first?.errorCode } }
                note("hears of \(values): \(errors.map { "\($0)" } ?? "nothing")")
                if let error = errors?.first(where: { $0 != ErrorCode.none }) {
                    if error == .fencedInstanceId { return fenced() }
                    if error == .notCoordinator || error == .coordinatorNotAvailable { return lost() }
                }
                if answer == nil { lost() }
            })
    }

    func showOffsets(of places: [GroupPlace]) {
        guard let coordinator, !places.isEmpty else { return }
        let isEnd = !world.isLoaded && places == group.places
        var wanted = OffsetFetchRequest.Group()
        wanted.groupID = group.name
        let version: Int16 = places.allSatisfy { topicID($0.topic) != nil } ? 8 + Int16(lots.below(3)) : 9
        if !isClassic, version >= 9 { (wanted.memberID, wanted.memberEpoch) = (memberID, generation) }
        wanted.topics = places.map { place in
            var topic = OffsetFetchRequest.Topic()
            topic.name = place.topic
            topic.topicID = topicID(place.topic) ?? .zero
            topic.partitionIndexes = [place.partition]
            return topic
        }
        var request = OffsetFetchRequest()
        request.groups = [wanted]
        let asked = asked()
        ask(
            request, version: version, of: coordinator,
            peek: { [unowned world, unowned group] answer, node in
                guard let found = answer.groups.first, found.errorCode == .none else { return }
                for (place, topic) in zip(places, found.topics) {
                    guard let shown = topic.partitions.first, shown.errorCode == .none else { continue }
                    world.checkers.groups.offsetShown(
                        shown.committedOffset, of: place, group.name, asked, by: node, world)
                }
            },
            then: { [unowned self] answer in
                guard let found = answer?.groups.first else { return lost() }
                switch found.errorCode {
                case .none: if isEnd { group.isShownAtEnd = true }
                case .notCoordinator, .coordinatorNotAvailable: lost()
                default: note("is not shown its offsets: \(found.errorCode)")
                }
            })
    }
}
