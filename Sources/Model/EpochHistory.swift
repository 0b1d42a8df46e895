// Which leader epoch began at which offset: the only thing truncation may be decided by (KIP-101, KIP-279).

public struct EpochHistory: Hashable, Sendable, CustomStringConvertible {
    public struct Entry: Hashable, Sendable {
        public var epoch: LeaderEpoch
        public var startOffset: Offset

        public init(epoch: LeaderEpoch, startOffset: Offset) {
            self.epoch = epoch
            self.startOffset = startOffset
        }
    }

    /// Epochs strictly rising; start offsets never falling.
    public private(set) var entries: [Entry] = []

    public init() {}

    public var latestEpoch: LeaderEpoch? { entries.last?.epoch }

    /// Notes that `epoch` begins at `offset`. An epoch not above the latest is already known and changes nothing, nor
    /// does one below zero: no leader has it, and a damaged header may say it, because no checksum covers it.
    /// Entries that would begin at or behind `offset` held no record and are dropped. Answers whether anything changed.
    @discardableResult
    public mutating func assign(_ epoch: LeaderEpoch, startOffset offset: Offset) -> Bool {
        guard epoch > entries.last?.epoch ?? -1 else { return false }
        entries.removeAll { $0.startOffset >= offset }
        entries.append(Entry(epoch: epoch, startOffset: offset))
        return true
    }

    /// Drops what begins at or behind `offset`. Answers whether anything changed.
    @discardableResult
    public mutating func truncate(to offset: Offset) -> Bool {
        let count = entries.count
        entries.removeAll { $0.startOffset >= offset }
        return entries.count != count
    }

    /// Keeps the epoch that `offset` lies in, its start moved up, and all later ones. Answers whether anything changed.
    @discardableResult
    public mutating func truncateStart(to offset: Offset) -> Bool {
        guard let index = entries.lastIndex(where: { $0.startOffset <= offset }) else { return false }
        guard index > 0 || entries[index].startOffset < offset else { return false }
        entries.removeFirst(index)
        entries[0].startOffset = offset
        return true
    }

    /// OffsetForLeaderEpoch (protocol.md §4.8): the largest known epoch not above `epoch`, and where it ended. Nil when
    /// nothing is known of it:
    /// `epoch` is −1 or lies above the latest.
    public func end(of epoch: LeaderEpoch, logEndOffset: Offset) -> (epoch: LeaderEpoch, endOffset: Offset)? {
        guard epoch >= 0, let latest = entries.last, epoch <= latest.epoch else { return nil }
        if epoch == latest.epoch { return (epoch, logEndOffset) }
        guard let index = entries.lastIndex(where: { $0.epoch <= epoch }) else {
            return (epoch, entries[0].startOffset)
        }
        return (entries[index].epoch, entries[index + 1].startOffset)
    }

    /// The epoch of the record at `offset`; nil below the first entry or for an empty history.
    public func epoch(at offset: Offset) -> LeaderEpoch? {
        entries.last { $0.startOffset <= offset }?.epoch
    }

    public var description: String {
        "[" + entries.map { "\($0.epoch)@\($0.startOffset)" }.joined(separator: " ") + "]"
    }
}
