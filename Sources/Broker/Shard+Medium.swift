// Fetches of what is not in memory: a thread brings it in while the shard's loop goes on, and then they run again.

import Model
import Storage

/// How a fetch waits until what it asks for is in memory.
struct MediumWait {
    /// The ticket that is awaited.
    var awaited: UInt64?
    /// Something it waited for came: it answers what it has now, whatever its `min.bytes`.
    var hasWaited = false
    /// It had waited for records as long as it may when this wait began.
    var isLast = false
    /// It has waited for the medium as long as it may.
    var isOverdue = false
    /// Its reader wants no more than what is there.
    var isGivenUp = false
}

/// A partition whose records at an offset are not in memory.
struct ColdPlace {
    var replica: Replica
    var offset: Offset
    var ranges: [FileRange]
}

/// What the disk was asked to bring into memory.
struct MediumReads {
    /// As often it is brought in to no end: where memory is so short that it is gone before it is read, it is read
    /// where it lies.
    static let vainMax = 2
    /// For so long that counts.
    static let vainMs: Int64 = 10_000
    /// Asked for at once. Behind that the rest waits.
    static let bytesMax = 64 << 20
    /// How many places are remembered behind their coming.
    static let rememberedMax = 1_000

    /// Its length is another for each reader, and where the file grows.
    private struct Place: Hashable {
        var path: String
        var position: Int64

        init(_ range: FileRange) { (path, position) = (range.path, range.position) }
    }

    private struct Visit {
        /// Nil: it came.
        var ticket: UInt64?
        var count = 0
        var cameAt = Instant.zero
    }

    private struct Ticket {
        var places: [Place] = []
        var bytes = 0
        var fetches: [UInt64] = []
    }

    private var visits: [Place: Visit] = [:]
    private var tickets: [UInt64: Ticket] = [:]
    private var bytesUnderWay = 0
    private var lastTicket: UInt64 = 0

    func isUnderWay(_ ticket: UInt64) -> Bool { tickets[ticket] != nil }

    /// Whether it was brought in lately, time and again, and is asked for once more.
    func cameInVain(_ range: FileRange, at now: Instant) -> Bool {
        guard let visit = visits[Place(range)], visit.ticket == nil else { return false }
        return visit.count >= Self.vainMax && now < visit.cameAt.advanced(byMs: Self.vainMs)
    }

    /// What of it the disk is to be asked for, with which ticket. Notes at each place the ticket to wait for.
    mutating func wanted(_ places: [ColdPlace], at now: Instant) -> (ranges: [FileRange], ticket: UInt64) {
        var asked: [FileRange] = []
        let next = lastTicket + 1
        for place in places {
            var awaited: UInt64 = 0
            for range in place.ranges {
                if let ticket = visits[Place(range)]?.ticket {
                    awaited = max(awaited, ticket)
                } else if bytesUnderWay == 0 || bytesUnderWay + range.length <= Self.bytesMax {
                    ask(for: range, next, at: now)
                    asked.append(range)
                    awaited = next
                } else {
                    awaited = max(awaited, tickets.keys.max() ?? 0)
                }
            }
            place.replica.coldPlace = (place.offset, awaited)
        }
        if !asked.isEmpty { lastTicket = next }
        return (asked, next)
    }

    private mutating func ask(for range: FileRange, _ ticket: UInt64, at now: Instant) {
        let place = Place(range)
        var visit = visits[place] ?? Visit()
        if now >= visit.cameAt.advanced(byMs: Self.vainMs) { visit.count = 0 }
        visit.ticket = ticket
        visits[place] = visit
        tickets[ticket, default: Ticket()].places.append(place)
        tickets[ticket, default: Ticket()].bytes += range.length
        bytesUnderWay += range.length
    }

    /// The fetch is to be told when that came.
    mutating func wait(_ fetch: UInt64, for ticket: UInt64) { tickets[ticket]?.fetches.append(fetch) }

    /// Answers who waits for it.
    mutating func came(_ ticket: UInt64, at now: Instant) -> [UInt64] {
        guard let ended = tickets.removeValue(forKey: ticket) else { return [] }
        bytesUnderWay -= ended.bytes
        for place in ended.places {
            visits[place]?.ticket = nil
            visits[place]?.count += 1
            visits[place]?.cameAt = now
        }
        let underWay = tickets.values.reduce(0) { $0 + $1.places.count }
        if visits.count > underWay + Self.rememberedMax { visits = visits.filter { $0.value.ticket != nil } }
        return ended.fetches
    }
}

extension Shard {
    /// The owner number of the tickets of what is brought in; logs count from 1.
    package static let mediumOwner: UInt32 = 1 << FlushTicket.ownerBits - 1

    /// How long a fetch waits for the medium when it waits for nothing else: its reader's patience has an end, too.
    static let mediumPatienceMs: Int64 = 2_000

    /// How much of `room` is read without waiting for the medium, or all the same; nil: it is left out of this round.
    func readableNow(
        _ target: FetchTarget, _ room: Int, _ replica: Replica, _ round: inout FetchRound
    ) -> Int? {
        if let place = replica.coldPlace, place.offset == target.fetchOffset, mediumReads.isUnderWay(place.ticket) {
            round.awaited = max(round.awaited, place.ticket)
            return nil
        }
        // What is too much for one answer waits for the next.
        let hasRoom = round.coldBytes < Limits.broughtInByFetchBytesMax
        switch replica.log.coldLook(from: target.fetchOffset, maxBytes: room, asksDisk: hasRoom) {
        case .readable(let bytes): return bytes
        case .cold(let ranges):
            // One in a round: the loop waits for it.
            if !round.hasReadCold, ranges.contains(where: { mediumReads.cameInVain($0, at: reading.now) }) {
                round.hasReadCold = true
                return min(room, Limits.broughtInBytesMax)
            }
            if hasRoom {
                round.cold.append(ColdPlace(replica: replica, offset: target.fetchOffset, ranges: ranges))
                round.coldBytes += ranges.reduce(0) { $0 + $1.length }
            }
            return nil
        }
    }

    /// Asks for what a round found cold. Answers whether the fetch is to wait for it.
    func waitsForMedium(
        _ pending: inout PendingFetch, _ number: UInt64, _ round: FetchRound, hasAnswer: Bool, isLast: Bool
    ) -> Bool {
        guard !round.cold.isEmpty || round.awaited > 0 else { return false }
        let (ranges, ticket) = mediumReads.wanted(round.cold, at: reading.now)
        if !ranges.isEmpty {
            disk.bringIn(FlushTicket(owner: Self.mediumOwner, generation: 0, sequence: ticket), ranges)
        }
        // Whoever has enough to answer does; what was left out is there the next time.
        guard !hasAnswer, !pending.medium.isGivenUp else { return false }
        if isLast { pending.medium.isLast = true }
        let last = round.cold.reduce(round.awaited) { max($0, $1.replica.coldPlace?.ticket ?? 0) }
        if pending.medium.awaited != last {
            pending.medium.awaited = last
            mediumReads.wait(number, for: last)
        }
        return true
    }

    /// It is in memory now, or cannot be read: then the reading says so.
    func broughtIn(_ ticket: FlushTicket) {
        // Mutant: nobody hears that it is there (L2, L4).
        if configuration.plantedBug == .broughtInNotTold { return }
        for id in mediumReads.came(ticket.sequence, at: reading.now) {
            guard let pending = pendingFetches[id], pending.medium.awaited == ticket.sequence else { continue }
            pendingFetches[id]?.medium.awaited = nil
            pendingFetches[id]?.medium.hasWaited = true
            runFetch(id, isLast: reading.now >= pending.deadline)
        }
    }

    /// Its time is over. What waits for the medium has a while more.
    func fetchTimedOut(_ id: UInt64) {
        if pendingFetches[id]?.medium.isOverdue ?? false { pendingFetches[id]?.medium.isGivenUp = true }
        runFetch(id, isLast: true)
    }

    /// A parked fetch waits for the medium. Where it waits for nothing else any more, not for ever.
    func noteWaiting(_ pending: PendingFetch, _ id: UInt64) {
        pendingFetches[id]?.medium = pending.medium
        guard pending.medium.isLast, !pending.medium.isOverdue else { return }
        timers.cancel(pending.timer)
        pendingFetches[id]?.timer = timers.add(.fetch(id), at: reading.now.advanced(byMs: Self.mediumPatienceMs))
        pendingFetches[id]?.medium.isOverdue = true
    }

    /// Its reader wants what there is.
    func fetchGivenUp(_ id: UInt64) {
        pendingFetches[id]?.medium.isGivenUp = true
        fetchTimedOut(id)
    }
}
