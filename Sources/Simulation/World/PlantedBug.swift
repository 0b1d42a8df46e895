// Bugs that are put in on purpose, to prove that the checkers see.

import Storage

package enum PlantedBug: String, CaseIterable, Sendable {
    case none
    /// Barriers of data logs are reported done and never happen: acknowledged is not durable (reliability.md §6.7,
    /// mutant 2).
    case dataFlushLies
    /// Barriers of the metadata log are reported done and never happen.
    case metadataFlushLies
    /// The vote is reported saved and never is (mutant 1).
    case voteForgotten

    func makesBarrierLie(_ ticket: FlushTicket) -> Bool {
        guard self != .none else { return false }
        let (half, own) = DiskView.unmarked(ticket)
        return switch self {
        case .none: false
        case .dataFlushLies: half == .shard
        case .metadataFlushLies: half == .control && own.owner == 1
        case .voteForgotten: half == .control && own.owner == 2
        }
    }
}
