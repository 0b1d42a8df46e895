// Which protocols all members of a classic group speak.

import Wire

/// The names among the offered protocols that all the others offer too. Each list is walked once.
func commonProtocols(
    of offered: [JoinGroupRequest.GroupProtocol], with others: some Sequence<[JoinGroupRequest.GroupProtocol]>
) -> Set<String> {
    // How many of the others, from the first on without a gap, offer it.
    var speakers: [String: Int] = [:]
    for one in offered { speakers[one.name] = 0 }
    var count = 0
    for other in others {
        for one in other where speakers[one.name] == count { speakers[one.name] = count + 1 }
        count += 1
    }
    return Set(speakers.lazy.filter { $0.value == count }.map(\.key))
}
