// Groups of which nothing is known but member ids that were given out and not used: anyone can make one by asking to
// join it once, so there is a bound.

import Model

struct Handshakes: Equatable, Sendable {
    private var groups = SortedMap<UInt64, String>()
    private var numbers: [String: UInt64] = [:]
    private var counts: [String: Int] = [:]
    private var last: UInt64 = 0
    /// Ids in all of them.
    private(set) var total = 0

    var count: Int { groups.count }

    /// The one that has been here longest.
    var oldest: String? { groups.values.first }

    /// The group has so many ids given out, and nothing else.
    mutating func wait(in group: String, _ count: Int) {
        if numbers[group] == nil {
            last += 1
            numbers[group] = last
            groups[last] = group
        }
        total += count - (counts.updateValue(count, forKey: group) ?? 0)
    }

    /// The group is more than that, or nothing any more.
    mutating func settled(_ group: String) {
        guard let number = numbers.removeValue(forKey: group) else { return }
        groups[number] = nil
        total -= counts.removeValue(forKey: group) ?? 0
    }
}

extension GroupCoordinator {
    /// Forgets the oldest of such groups beyond the bound. Whoever comes back with an id of theirs is told that it is
    /// unknown, and asks for another.
    mutating func bound(_ id: String, strangers: Int, into effects: inout [GroupEffect]) {
        handshakes.wait(in: id, strangers)
        while handshakes.count > settings.handshakeGroupsMax || handshakes.total > settings.handshakesMax,
            let oldest = handshakes.oldest, oldest != id
        {
            handshakes.settled(oldest)
            guard let group = groups.removeValue(forKey: oldest) else { continue }
            effects.append(
                .log(GroupEvent(group: oldest, kind: .pendingMembersForgotten(group.pendingMembers.keys))))
        }
    }
}
