// Requests about groups: from the connection to the coordinators of the groups that they name, and back. A coordinator
// may be another shard's; a request that names several groups may need several.

import Groups
import Metadata
import Model
import Wire

extension Shard {
    // MARK: The gateway

    func groupRequested(_ request: GroupRequest, _ context: RequestContext) {
        guard let topic = view.image.topic(named: GroupTopic.name), !topic.partitions.isEmpty else {
            if case .listGroups = request { return respond(.listGroups(ListGroupsResponse()), context) }
            return respond(request.refused(.coordinatorNotAvailable, version: context.header.version), context)
        }
        let request = request.namingEachOnce()
        let host = connections[context.connection]?.clientHost ?? ""
        let pieces = request.divided(among: topic, led: configuration.nodeID, version: context.header.version)
            .enumerated().map { index, share in
                GroupPiece(index: index, partition: share.partition, request: share.request, clientHost: host)
            }
        let number = takeRequestNumber()
        pendingGroupRequests[number] = PendingGroupRequest(
            context: context, request: request, pieces: pieces,
            answers: [GroupResponse?](repeating: nil, count: pieces.count), waiting: pieces.count)
        guard !pieces.isEmpty else { return finishGroupRequest(number) }
        let id = PartID(gateway: index, number: number)
        for piece in pieces {
            let shard = owner(of: GroupTopic.name, piece.partition)
            if shard == index {
                groupAsked(piece, id, context.header)
            } else {
                ask(shard, id, .group(piece), context)
            }
        }
    }

    func groupAnswered(_ number: UInt64, _ piece: Int, _ response: GroupResponse) {
        guard pendingGroupRequests[number] != nil else { return }
        pendingGroupRequests[number]?.answers[piece] = response
        pendingGroupRequests[number]?.waiting -= 1
        if pendingGroupRequests[number]?.waiting == 0 { finishGroupRequest(number) }
    }

    private func finishGroupRequest(_ number: UInt64) {
        guard let pending = pendingGroupRequests.removeValue(forKey: number) else { return }
        let answers = zip(pending.pieces, pending.answers).compactMap { piece, answer in
            answer.map { (request: piece.request, response: $0) }
        }
        respond(pending.request.joined(answers), pending.context)
    }

    /// Nobody reads the answers any more.
    func forgetGroupRequests(of connection: ConnectionID) {
        for (number, pending) in pendingGroupRequests where pending.context.connection == connection {
            pendingGroupRequests.removeValue(forKey: number)
            let id = PartID(gateway: index, number: number)
            var shards = SortedMap<Int, Bool>()
            for piece in pending.pieces { shards[owner(of: GroupTopic.name, piece.partition)] = true }
            for shard in shards.keys {
                if shard == index {
                    abandonGroupRequests(id)
                } else {
                    effects.append(.mailShard(shard, .partCancelled(id)))
                }
            }
        }
    }

    private func respond(_ response: GroupResponse, _ context: RequestContext) {
        switch response {
        case .joinGroup(let response): respond(response, to: JoinGroupRequest.self, context)
        case .syncGroup(let response): respond(response, to: SyncGroupRequest.self, context)
        case .heartbeat(let response): respond(response, to: HeartbeatRequest.self, context)
        case .leaveGroup(let response): respond(response, to: LeaveGroupRequest.self, context)
        case .offsetCommit(let response): respond(response, to: OffsetCommitRequest.self, context)
        case .offsetFetch(let response): respond(response, to: OffsetFetchRequest.self, context)
        case .offsetDelete(let response): respond(response, to: OffsetDeleteRequest.self, context)
        case .deleteGroups(let response): respond(response, to: DeleteGroupsRequest.self, context)
        case .describeGroups(let response): respond(response, to: DescribeGroupsRequest.self, context)
        case .listGroups(let response): respond(response, to: ListGroupsRequest.self, context)
        case .consumerGroupHeartbeat(let response):
            respond(response, to: ConsumerGroupHeartbeatRequest.self, context)
        case .consumerGroupDescribe(let response): respond(response, to: ConsumerGroupDescribeRequest.self, context)
        }
    }

    // MARK: Beside the coordinator

    func groupAsked(_ piece: GroupPiece, _ id: PartID, _ header: RequestHeader) {
        let topicID = view.image.topicID(named: GroupTopic.name)
        let key = topicID.map { TopicPartition($0, piece.partition) }
        guard let key, let coordinator = coordinators[key] else {
            let refusal = piece.request.refused(.notCoordinator, version: header.version)
            return answer(refusal, GroupOrigin(part: id, piece: piece.index, coordinator: key ?? .init(.zero, 0)))
        }
        let ticket = GroupTicket(takeRequestNumber())
        groupOrigins[ticket] = GroupOrigin(part: id, piece: piece.index, coordinator: key)
        groupTickets[id, default: []].append(ticket)
        let call = GroupCall(
            piece.request, version: header.version, ticket: ticket, clientID: header.clientID ?? "",
            clientHost: piece.clientHost)
        let topics = ImageTopics(image: view.image)
        run(coordinator) { $0.requested(call, topics: topics, at: reading, into: &$1) }
    }

    func groupReplied(_ ticket: GroupTicket, _ response: GroupResponse) {
        guard let origin = groupOrigins.removeValue(forKey: ticket) else { return }
        groupTickets[origin.part]?.removeAll { $0 == ticket }
        if groupTickets[origin.part]?.isEmpty == true { groupTickets.removeValue(forKey: origin.part) }
        answer(response, origin)
    }

    private func answer(_ response: GroupResponse, _ origin: GroupOrigin) {
        if origin.part.gateway == index { return groupAnswered(origin.part.number, origin.piece, response) }
        answerPart(origin.part, .group(piece: origin.piece, response))
    }

    func abandonGroupRequests(_ id: PartID) {
        for ticket in groupTickets.removeValue(forKey: id) ?? [] {
            guard let origin = groupOrigins.removeValue(forKey: ticket),
                let coordinator = coordinators[origin.coordinator]
            else { continue }
            run(coordinator) { $0.abandoned(ticket, at: reading, into: &$1) }
        }
    }
}

extension GroupRequest {
    /// Each group once, where it is named first: an answer could be many times the size of its request otherwise.
    func namingEachOnce() -> GroupRequest {
        switch self {
        case .offsetFetch(var request):
            request.groups = withoutRepeats(request.groups, by: \.groupID)
            return .offsetFetch(request)
        case .deleteGroups(var request):
            request.groupsNames = withoutRepeats(request.groupsNames)
            return .deleteGroups(request)
        case .describeGroups(var request):
            request.groups = withoutRepeats(request.groups)
            return .describeGroups(request)
        case .consumerGroupDescribe(var request):
            request.groupIDs = withoutRepeats(request.groupIDs)
            return .consumerGroupDescribe(request)
        default: return self
        }
    }

    typealias Share = (partition: PartitionIndex, request: GroupRequest)

    /// What each coordinator is to be asked, by the partition of `__consumer_offsets` that its groups belong to.
    func divided(among topic: TopicImage, led me: NodeID, version: Int16) -> [Share] {
        let count = Int32(topic.partitions.count)
        func place(_ group: String) -> PartitionIndex { groupPartition(of: group, partitionCount: count) }
        switch self {
        case .joinGroup(let request): return [(place(request.groupID), self)]
        case .syncGroup(let request): return [(place(request.groupID), self)]
        case .heartbeat(let request): return [(place(request.groupID), self)]
        case .leaveGroup(let request): return [(place(request.groupID), self)]
        case .offsetCommit(let request): return [(place(request.groupID), self)]
        case .offsetDelete(let request): return [(place(request.groupID), self)]
        case .consumerGroupHeartbeat(let request): return [(place(request.groupID), self)]
        case .offsetFetch(let request) where version < 8: return [(place(request.groupID), self)]
        case .offsetFetch(let request):
            return Self.grouped(request.groups) { place($0.groupID) }.map { partition, groups in
                var share = request
                share.groups = groups
                return (partition, .offsetFetch(share))
            }
        case .deleteGroups(let request):
            return Self.grouped(request.groupsNames, by: place).map { partition, names in
                var share = request
                share.groupsNames = names
                return (partition, .deleteGroups(share))
            }
        case .describeGroups(let request):
            return Self.grouped(request.groups, by: place).map { partition, names in
                var share = request
                share.groups = names
                return (partition, .describeGroups(share))
            }
        case .consumerGroupDescribe(let request):
            return Self.grouped(request.groupIDs, by: place).map { partition, names in
                var share = request
                share.groupIDs = names
                return (partition, .consumerGroupDescribe(share))
            }
        // Each node lists the groups that it coordinates; who wants all asks every node.
        case .listGroups:
            return topic.partitions.indices.filter { topic.partitions[$0].leader == me }.map {
                (PartitionIndex($0), self)
            }
        }
    }

    private static func grouped<Element>(
        _ elements: [Element], by place: (Element) -> PartitionIndex
    ) -> SortedMap<PartitionIndex, [Element]> {
        var places = SortedMap<PartitionIndex, [Element]>()
        for element in elements { places[place(element), default: []].append(element) }
        return places
    }

    private var isList: Bool { if case .listGroups = self { true } else { false } }

    /// The whole answer, in the order in which the request names its groups.
    func joined(_ answers: [(request: GroupRequest, response: GroupResponse)]) -> GroupResponse {
        if answers.count == 1, !isList { return answers[0].response }
        switch self {
        case .offsetFetch(let request):
            var response = OffsetFetchResponse()
            response.groups = answers.flatMap { answer -> [OffsetFetchResponse.Group] in
                if case .offsetFetch(let part) = answer.response { part.groups } else { [] }
            }
            response.groups = Self.ordered(response.groups, as: request.groups.map(\.groupID), by: \.groupID)
            return .offsetFetch(response)
        case .deleteGroups(let request):
            var response = DeleteGroupsResponse()
            response.results = answers.flatMap { answer -> [DeleteGroupsResponse.Result] in
                if case .deleteGroups(let part) = answer.response { part.results } else { [] }
            }
            response.results = Self.ordered(response.results, as: request.groupsNames, by: \.groupID)
            return .deleteGroups(response)
        case .describeGroups(let request):
            var response = DescribeGroupsResponse()
            response.groups = answers.flatMap { answer -> [DescribeGroupsResponse.Group] in
                if case .describeGroups(let part) = answer.response { part.groups } else { [] }
            }
            response.groups = Self.ordered(response.groups, as: request.groups, by: \.groupID)
            return .describeGroups(response)
        case .consumerGroupDescribe(let request):
            var response = ConsumerGroupDescribeResponse()
            response.groups = answers.flatMap { answer -> [ConsumerGroupDescribeResponse.Group] in
                if case .consumerGroupDescribe(let part) = answer.response { part.groups } else { [] }
            }
            response.groups = Self.ordered(response.groups, as: request.groupIDs, by: \.groupID)
            return .consumerGroupDescribe(response)
        case .listGroups:
            var response = ListGroupsResponse()
            for answer in answers {
                guard case .listGroups(let part) = answer.response else { continue }
                response.groups += part.groups
                // One partition that is still loading makes the list incomplete, and says so; one that just moved away
                // is listed by its new coordinator.
                if part.errorCode != .none, part.errorCode != .notCoordinator { response.errorCode = part.errorCode }
            }
            response.groups.sort { $0.groupID < $1.groupID }
            return .listGroups(response)
        default: preconditionFailure("a request about one group has one coordinator")
        }
    }

    private static func ordered<Element>(
        _ elements: [Element], as names: [String], by name: KeyPath<Element, String>
    ) -> [Element] {
        let found = Dictionary(elements.map { ($0[keyPath: name], $0) }, uniquingKeysWith: { first, _ in first })
        return names.compactMap { found[$0] }
    }
}
