// Requests for partitions of several shards. The shard that has the connection, the gateway, divides the request, mails
// every other shard its share, serves its own, and puts the answers together in the request's order. A share is served
// by the same handlers as a whole request; only its answer goes another way. Fetch is Shard+FetchParts.swift's.

import Model
import NIOCore
import Wire

/// An answer that several shards give together.
protocol Gathering: AnyObject {
    /// Takes one shard's share; true when it was the last.
    func take(_ answer: any WireMessage, from shard: Int) -> Bool
    func finish(in shard: Shard)
}

final class Gather<Request: PartitionedRequest>: Gathering {
    typealias Place = (topic: Int, partition: Int)

    private let context: RequestContext
    private var response: Request.Response
    /// Where each shard's answers belong, in the order of its share.
    private var places: SortedMap<Int, [Place]>

    init(_ context: RequestContext, _ response: Request.Response, _ places: SortedMap<Int, [Place]>) {
        self.context = context
        self.response = response
        self.places = places
    }

    func take(_ answer: any WireMessage, from shard: Int) -> Bool {
        guard let answer = answer as? Request.Response, let places = places.removeValue(forKey: shard) else {
            preconditionFailure("shard \(shard) answers what it was not asked")
        }
        let partitions = answer.topics.flatMap(\.partitions)
        precondition(partitions.count == places.count, "\(places.count) partitions, \(partitions.count) answers")
        for (place, partition) in zip(places, partitions) {
            response.topics[place.topic].partitions[place.partition] = partition
        }
        return self.places.isEmpty
    }

    func finish(in shard: Shard) { shard.respond(shard.completed(response, context), to: Request.self, context) }
}

extension Shard {
    // MARK: The gateway

    /// Divides a request among the shards that have its partitions. False: all of them are here. Without `isAnswered`
    /// nothing is gathered, as nothing is answered but a refusal.
    func divide<Request: PartitionedRequest>(
        _ request: Request, _ context: RequestContext, isAnswered: Bool = true
    ) -> Bool {
        guard shardCount > 1 else { return false }
        let owners = request.topics.map { topic in
            let known = Request.name(of: topic)
            let name = known.name.isEmpty ? view.image.topic(id: known.id)?.name : known.name
            return topic.partitions.map { owner(of: name, $0.partitionIndex) }
        }
        guard owners.contains(where: { $0.contains { $0 != index } }) else { return false }
        var shares = [Request?](repeating: nil, count: shardCount)
        var places = SortedMap<Int, [Gather<Request>.Place]>()
        var response = Request.Response()
        for (topicIndex, topic) in request.topics.enumerated() {
            var head = Request.head(of: topic)
            var isBegun = [Bool](repeating: false, count: shardCount)
            for (partition, owner) in zip(topic.partitions, owners[topicIndex]) {
                if shares[owner] == nil {
                    shares[owner] = request
                    shares[owner]?.topics = []
                }
                if !isBegun[owner] {
                    var own = topic
                    own.partitions = []
                    shares[owner]?.topics.append(own)
                    isBegun[owner] = true
                }
                let last = (shares[owner]?.topics.count ?? 0) - 1
                shares[owner]?.topics[last].partitions.append(partition)
                places[owner, default: []].append((topicIndex, head.partitions.count))
                head.partitions.append(.init())
            }
            response.topics.append(head)
        }
        let id = PartID(gateway: index, number: takeRequestNumber())
        if isAnswered { gathers[id.number] = Gather<Request>(context, response, places) }
        for (shard, share) in shares.enumerated() where shard != index {
            if let share { ask(shard, id, share.asPart, context) }
        }
        if let own = shares[index] {
            var context = context
            context.part = id
            serve(own.asPart, context)
        }
        return true
    }

    func ask(_ shard: Int, _ id: PartID, _ request: PartRequest, _ context: RequestContext) {
        let part = RequestPart(id: id, connection: context.connection, header: context.header, request: request)
        effects.append(.mailShard(shard, .partAsked(part)))
    }

    func partAnswered(_ answer: PartAnswer) {
        switch answer.content {
        case .whole(let response):
            guard let gather = gathers[answer.id.number], gather.take(response, from: answer.shard) else { return }
            gathers.removeValue(forKey: answer.id.number)
            gather.finish(in: self)
        case .fetched(let partitions): fetchPartAnswered(answer.id.number, partitions, from: answer.shard)
        case .group(let piece, let response): groupAnswered(answer.id.number, piece, response)
        }
    }

    /// What is said of all partitions together.
    func completed<Response: PartitionedResponse>(_ response: Response, _ context: RequestContext) -> Response {
        guard var produced = response as? ProduceResponse, context.header.version >= 10 else { return response }
        produced.nodeEndpoints = endpoints(of: produced)
        return produced as? Response ?? response
    }

    // MARK: Who has the partitions

    func partAsked(_ part: RequestPart) {
        serve(
            part.request, RequestContext(connection: part.connection, slot: 0, header: part.header, part: part.id))
    }

    private func serve(_ request: PartRequest, _ context: RequestContext) {
        switch request {
        case .produce(let request): produce(request, context)
        case .fetch(let part): fetch(part, context)
        case .listOffsets(let request): listOffsets(request, context)
        case .offsetForLeaderEpoch(let request): offsetForLeaderEpoch(request, context)
        case .deleteRecords(let request): deleteRecords(request, context)
        case .group(let piece):
            if let part = context.part { groupAsked(piece, part, context.header) }
        }
    }

    func answerPart(_ id: PartID, _ content: PartContent) {
        let answer = PartAnswer(id: id, shard: index, content: content)
        if id.gateway == index {
            partAnswered(answer)
        } else {
            effects.append(.mailShard(id.gateway, .partAnswered(answer)))
        }
    }

    /// Ends the connection that a request came by, wherever that is.
    func close(_ context: RequestContext, because reason: String) {
        if let part = context.part, part.gateway != index {
            effects.append(.mailShard(part.gateway, .partRefused(context.connection, reason)))
        } else {
            close(context.connection, because: reason)
        }
    }

    func complain(_ context: RequestContext, _ reason: String) {
        if let part = context.part, part.gateway != index {
            effects.append(.mailShard(part.gateway, .complained(context.connection, reason)))
        } else {
            complain(context.connection, reason)
        }
    }
}
