// What one stretch of committed metadata records changed, so that a broker looks only at that.

import Model

package struct ImageChanges: Equatable, Sendable {
    /// Sorted, without repeats: topics of which anything changed and that still exist.
    package private(set) var topics: [UUID128] = []
    /// Of these topics, the partitions that are new or changed. A topic may be named for another reason.
    private var partitions = SortedMap<UUID128, [Int32]>()
    /// Sorted by id: topics that were removed.
    package private(set) var deletedTopics: [UUID128] = []
    package private(set) var brokers: [NodeID] = []
    package private(set) var configs: [ConfigResource] = []
    /// Records that could not be applied: they name what does not exist, or a registration that is gone.
    package private(set) var ignoredRecords = 0

    package init() {}

    /// In order, without repeats.
    package func partitions(of id: UUID128) -> [Int32] { partitions[id] ?? [] }

    package var isEmpty: Bool {
        topics.isEmpty && deletedTopics.isEmpty && brokers.isEmpty && configs.isEmpty
    }

    mutating func touch(topic id: UUID128) { Self.insert(id, into: &topics) }

    mutating func touch(partition index: Int32, of id: UUID128) {
        touch(topic: id)
        Self.insert(index, into: &partitions[id, default: []])
    }

    mutating func touch(broker id: NodeID) { Self.insert(id, into: &brokers) }

    mutating func touch(config resource: ConfigResource) { Self.insert(resource, into: &configs) }

    mutating func delete(topic id: UUID128) {
        topics.removeAll { $0 == id }
        partitions.removeValue(forKey: id)
        Self.insert(id, into: &deletedTopics)
    }

    mutating func ignoreRecord() { ignoredRecords += 1 }

    private static func insert<Element: Comparable>(_ element: Element, into sorted: inout [Element]) {
        if sorted.last == element { return }
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] < element { low = middle + 1 } else { high = middle }
        }
        if low < sorted.count, sorted[low] == element { return }
        sorted.insert(element, at: low)
    }
}
