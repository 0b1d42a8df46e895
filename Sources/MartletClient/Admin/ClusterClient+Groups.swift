// Groups from outside: found, listed, described, their offsets read, set and forgotten, and the groups deleted.

import Model
import Wire

extension ClusterClient {
    /// The node that coordinates a group. One attempt.
    func findCoordinator(of group: String) async throws -> Int32 { try await coordinatorNode(of: group).id }

    private func coordinatorNode(of group: String) async throws -> ClusterDescription.Node {
        var request = FindCoordinatorRequest()
        (request.key, request.coordinatorKeys) = (group, [group])
        let response = try await askAny(request)
        let answer = response.coordinators.first
        let code = answer?.errorCode ?? response.errorCode
        guard code == .none else {
            throw ClientError.refused(
                what: "find the coordinator of group \(group)", code,
                message: answer?.errorMessage ?? response.errorMessage)
        }
        let node = answer?.nodeID ?? response.nodeID
        let address = Endpoint(
            host: answer?.host ?? response.host, port: UInt16(clamping: answer?.port ?? response.port))
        learned([(node, address)])
        return ClusterDescription.Node(id: node, address: address)
    }

    /// The node that coordinates a group now, whether the group is there or not.
    /// - Throws: `ClientError`; `refused` with `invalidGroupId`.
    public func coordinator(of group: String) async throws -> ClusterDescription.Node {
        try await retrying("find the coordinator of group \(group)") { try await coordinatorNode(of: group) }
    }

    /// All groups, of every node that answers.
    /// - Throws: `ClientError` when no node does.
    public func groups() async throws -> GroupList {
        var list = GroupList(groups: [], silentNodes: [])
        let nodes = try await retrying("list groups") { try await describeCluster().nodes.map(\.id) }
        var failure: ClientError?
        for node in nodes {
            do {
                list.groups += try await retryingWhileLoading("list the groups of node \(node)") {
                    let response = try await ask(ListGroupsRequest(), of: node)
                    guard response.errorCode == .none else {
                        throw ClientError.refused(
                            what: "list the groups of node \(node)", response.errorCode, message: nil)
                    }
                    return response.groups.map { group in
                        GroupListing(
                            groupID: group.groupID, protocolType: group.protocolType,
                            state: group.groupState.isEmpty ? nil : group.groupState,
                            type: group.groupType.isEmpty ? nil : group.groupType, coordinator: node)
                    }
                }
            } catch let error as ClientError {
                failure = error
                list.silentNodes.append(node)
            }
        }
        if let failure, list.silentNodes.count == nodes.count { throw failure }
        // A coordinator that moves while this goes on may be asked before and after.
        var seen: Set<String> = []
        list.groups = list.groups.sorted { $0.groupID < $1.groupID }.filter { seen.insert($0.groupID).inserted }
        return list
    }

    /// A node that loads groups is waited for; one that does not answer is not.
    private func retryingWhileLoading<T: Sendable>(
        _ what: String, _ attempt: () async throws -> T
    ) async throws -> T {
        let result: Result<T, ClientError> = try await retrying(what) {
            do {
                return .success(try await attempt())
            } catch let error as ClientError {
                if case .refused(_, let code, _) = error, code.isRetriable { throw error }
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// One group with its members. Both protocols are asked for.
    /// - Throws: `ClientError`; `refused` with `groupIdNotFound`.
    public func describeGroup(_ group: String) async throws -> GroupDescription {
        let what = "describe group \(group)"
        return try await retrying(what) {
            let node = try await coordinatorNode(of: group)
            var request = ConsumerGroupDescribeRequest()
            request.groupIDs = [group]
            do {
                let answer = try await ask(request, of: node.id).groups.first
                let code = answer?.errorCode ?? .unknownServerError
                if let answer, code == .none { return GroupDescription(answer, node) }
                guard code == .groupIdNotFound || code == .unsupportedVersion else {
                    throw ClientError.refused(what: what, code, message: answer?.errorMessage)
                }
            } catch let error as ClientError where error.isUnsupported {}
            var classic = DescribeGroupsRequest()
            classic.groups = [group]
            let answer = try await ask(classic, of: node.id).groups.first
            let code = answer?.errorCode ?? .unknownServerError
            // Before version 6 a group that is not there is a dead one.
            guard let answer, code == .none, answer.groupState != "Dead" else {
                throw ClientError.refused(what: what, code == .none ? .groupIdNotFound : code, message: nil)
            }
            return GroupDescription(answer, node)
        }
    }

    // MARK: Offsets

    /// What a group has committed: for these partitions, or for all when nil. Partitions without an offset are left
    /// out. Offsets that a transaction is about to change are waited for.
    /// - Throws: `ClientError`.
    public func committedOffsets(
        of group: String, _ partitions: [TopicPartition]? = nil
    ) async throws -> [TopicPartition: OffsetAndMetadata] {
        let what = "read the committed offsets of group \(group)"
        let topics = partitions.map { partitions in
            byTopic(partitions).map { name, indexes in
                var topic = OffsetFetchRequest.Topic()
                (topic.name, topic.partitionIndexes) = (name, indexes)
                return topic
            }
        }
        var entry = OffsetFetchRequest.Group()
        (entry.groupID, entry.topics) = (group, topics)
        var request = OffsetFetchRequest()
        (request.groupID, request.topics, request.groups) = (group, topics, [entry])
        request.requireStable = true
        let sent = request
        return try await retrying(what) {
            let node = try await findCoordinator(of: group)
            let response = try await ask(sent, of: node, maxVersion: 9)
            let answer = response.groups.first
            let code = answer?.errorCode ?? response.errorCode
            guard code == .none else { throw ClientError.refused(what: what, code, message: nil) }
            var found: [TopicPartition: OffsetAndMetadata] = [:]
            for topic in answer?.topics ?? response.topics {
                for partition in topic.partitions {
                    guard partition.errorCode == .none else {
                        throw ClientError.refused(what: what, partition.errorCode, message: nil)
                    }
                    guard partition.committedOffset >= 0 else { continue }
                    found[TopicPartition(topic.name, partition.partitionIndex)] = OffsetAndMetadata(
                        partition.committedOffset, leaderEpoch: partition.committedLeaderEpoch.unlessNegative,
                        metadata: partition.metadata ?? "")
                }
            }
            return found
        }
    }

    /// Sets offsets of a group that has no members, or makes it.
    /// - Throws: `ClientError`; `refused` with `nonEmptyGroup` while it has members, and with `offsetMetadataTooLarge`.
    ///   Partitions before the one that is refused may have theirs.
    public func setOffsets(of group: String, _ offsets: [TopicPartition: OffsetAndMetadata]) async throws {
        var request = OffsetCommitRequest()
        request.groupID = group
        request.topics = offsetTopics(SortedMap(offsets.map { ($0.key, $0.value) }))
        let sent = request
        try await retrying("set the offsets of group \(group)") {
            let node = try await findCoordinator(of: group)
            for topic in try await ask(sent, of: node, maxVersion: 9).topics {
                for partition in topic.partitions where partition.errorCode != .none {
                    // Who is no member cannot commit to a group that has some.
                    let isInUse = partition.errorCode == .unknownMemberId || partition.errorCode == .illegalGeneration
                    throw ClientError.refused(
                        what: "set the offset of \(topic.name)-\(partition.partitionIndex) in group \(group)",
                        isInUse ? .nonEmptyGroup : partition.errorCode, message: nil)
                }
            }
        }
    }

    /// Forgets what a group has committed for these partitions. Partitions without an offset are no failure.
    /// - Throws: `ClientError`; `refused` with `groupIdNotFound`, or with `groupSubscribedToTopic` for a topic that
    ///   members read.
    public func deleteOffsets(of group: String, _ partitions: [TopicPartition]) async throws {
        var request = OffsetDeleteRequest()
        request.groupID = group
        request.topics = byTopic(partitions).map { name, indexes in
            var topic = OffsetDeleteRequest.Topic()
            topic.name = name
            topic.partitions = indexes.map { index in
                var partition = OffsetDeleteRequest.Partition()
                partition.partitionIndex = index
                return partition
            }
            return topic
        }
        let (what, sent) = ("delete offsets of group \(group)", request)
        try await retrying(what) {
            let node = try await findCoordinator(of: group)
            let response = try await ask(sent, of: node)
            guard response.errorCode == .none else {
                throw ClientError.refused(what: what, response.errorCode, message: nil)
            }
            for topic in response.topics {
                for partition in topic.partitions where partition.errorCode != .none {
                    throw ClientError.refused(
                        what: "delete the offset of \(topic.name)-\(partition.partitionIndex) in group \(group)",
                        partition.errorCode, message: nil)
                }
            }
        }
    }

    /// Deletes a group that has no members, with all its offsets.
    /// - Throws: `ClientError`; `refused` with `groupIdNotFound` or `nonEmptyGroup`.
    public func deleteGroup(_ group: String) async throws {
        var request = DeleteGroupsRequest()
        request.groupsNames = [group]
        let (what, sent) = ("delete group \(group)", request)
        // By an attempt whose answer was lost, or that a coordinator took while it handed the group over.
        var mayBeDone = false
        try await retrying(what) {
            let node = try await findCoordinator(of: group)
            do {
                let answer = try await ask(sent, of: node).results.first
                let code = answer?.errorCode ?? .unknownServerError
                guard code == .none || (code == .groupIdNotFound && mayBeDone) else {
                    throw ClientError.refused(what: what, code, message: nil)
                }
            } catch let error as ClientError {
                if case .refused(_, .coordinatorLoadInProgress, _) = error { throw error }
                mayBeDone = mayBeDone || error.isRetriable
                throw error
            }
        }
    }
}
