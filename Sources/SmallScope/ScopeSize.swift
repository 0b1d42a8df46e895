// Which bounds are searched: the full scope in a soak, a small one in every `make test`.

package enum ScopeSize: String, CaseIterable, Sendable {
    case small, full
}

extension QuorumBounds {
    /// Searched one after the other; each widens another side.
    package static func all(_ size: ScopeSize) -> [QuorumBounds] {
        switch size {
        case .small: [.firstElection(crashes: 1), .failover(crashes: 1, depth: 11), .whole(settled: true, depth: 5)]
        case .full:
            [
                .firstElection(crashes: 2), .rivals, .failover(crashes: 1), .brokenConnection,
                .failover(crashes: 2, depth: 17),
                .threeTerms(depth: 15), .whole(settled: true, depth: 8), .whole(settled: false, depth: 10),
            ]
        }
    }

    private static func first(_ change: (inout QuorumBounds) -> Void) -> QuorumBounds {
        var bounds = QuorumBounds()
        change(&bounds)
        return bounds
    }

    /// Three empty disks elect once.
    private static func firstElection(crashes: Int) -> QuorumBounds {
        first {
            ($0.epochsMax, $0.crashesMax, $0.entriesMax, $0.timeoutsMax) = (1, crashes, 0, 2)
            ($0.breaksMax, $0.straysPerLinkMax) = (0, 0)
        }
    }

    /// Two stand in two epochs, and nobody fails.
    private static var rivals: QuorumBounds {
        first {
            ($0.epochsMax, $0.crashesMax, $0.entriesMax, $0.timeoutsMax) = (2, 0, 0, 2)
            ($0.breaksMax, $0.straysPerLinkMax) = (0, 0)
        }
    }

    /// Another stands beside or after a settled leader that has an entry to commit.
    private static func failover(crashes: Int, depth: Int? = nil) -> QuorumBounds {
        first {
            ($0.isSettled, $0.depthMax) = (true, depth)
            ($0.epochsMax, $0.crashesMax, $0.entriesMax, $0.timeoutsMax) = (2, crashes, 1, 1)
            ($0.breaksMax, $0.straysPerLinkMax) = (0, 0)
        }
    }

    /// The same, with a connection that breaks instead of an entry.
    private static var brokenConnection: QuorumBounds {
        first {
            $0.isSettled = true
            ($0.epochsMax, $0.crashesMax, $0.entriesMax, $0.timeoutsMax) = (2, 1, 0, 1)
            ($0.breaksMax, $0.straysPerLinkMax) = (1, 1)
        }
    }

    /// Two more terms after the settled one, and two crashes.
    private static func threeTerms(depth: Int) -> QuorumBounds {
        first {
            ($0.isSettled, $0.depthMax) = (true, depth)
            ($0.crashesMax, $0.entriesMax, $0.timeoutsMax) = (2, 0, 2)
            ($0.breaksMax, $0.straysPerLinkMax) = (0, 0)
        }
    }

    /// Everything at once, as far as it goes.
    private static func whole(settled: Bool, depth: Int) -> QuorumBounds {
        first {
            ($0.isSettled, $0.depthMax) = (settled, depth)
            ($0.resignationsMax, $0.remindersMax) = (1, 1)
        }
    }
}

extension ReplicaBounds {
    package static func all(_ size: ScopeSize) -> [ReplicaBounds] {
        switch size {
        case .small: [.fullISR(crashes: 0, changes: 0), .fences(crashes: 1, depth: 8), .whole(settled: true, depth: 6)]
        case .full:
            [
                .fullISR(crashes: 1, changes: 1), .fences(crashes: 1, depth: 12), .change(crashes: 2, depth: 11),
                .whole(settled: true, depth: 8), .whole(settled: false, depth: 8),
            ]
        }
    }

    private static func first(_ change: (inout ReplicaBounds) -> Void) -> ReplicaBounds {
        var bounds = ReplicaBounds()
        change(&bounds)
        return bounds
    }

    /// One record from empty logs; ISR changes by deaths, and as many as that by AlterPartition.
    private static func fullISR(crashes: Int, changes: Int) -> ReplicaBounds {
        first {
            ($0.recordsMax, $0.crashesMax, $0.isrChangesMax, $0.fencesMax) = (1, crashes, changes, 0)
            ($0.timeoutsMax, $0.breaksMax, $0.straysPerLinkMax) = (0, 0, 0)
        }
    }

    /// One record is committed; a broker is fenced and comes back.
    private static func fences(crashes: Int, depth: Int? = nil) -> ReplicaBounds {
        first {
            ($0.isSettled, $0.depthMax) = (true, depth)
            ($0.recordsMax, $0.crashesMax, $0.fencesMax) = (1, crashes, 1)
            ($0.timeoutsMax, $0.breaksMax, $0.straysPerLinkMax) = (0, 0, 0)
        }
    }

    /// A second record, two crashes and the return to the ISR.
    private static func change(crashes: Int, depth: Int) -> ReplicaBounds {
        first {
            ($0.isSettled, $0.depthMax) = (true, depth)
            ($0.crashesMax, $0.fencesMax) = (crashes, 0)
            ($0.timeoutsMax, $0.breaksMax, $0.straysPerLinkMax) = (1, 0, 0)
        }
    }

    /// Everything at once, as far as it goes.
    private static func whole(settled: Bool, depth: Int) -> ReplicaBounds {
        first {
            ($0.isSettled, $0.depthMax) = (settled, depth)
            ($0.checkpoints, $0.parks) = (true, true)
        }
    }
}
