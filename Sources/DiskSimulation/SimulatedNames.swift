// The directory entries of the simulated disk, as they are and as a loss of power would leave them.

import Model

enum SimulatedEntry: Equatable {
    case directory
    case file(Int)

    var fileNumber: Int? {
        if case .file(let number) = self { number } else { nil }
    }
}

/// A change of one directory that no barrier on it has covered yet. A renaming is one change: it happens whole or not
/// at all.
struct NameChange {
    var sequence: UInt64
    var directory: String
    var removed: [String]
    var added: [(path: String, entry: SimulatedEntry)]
}

struct SimulatedNames {
    private(set) var current = SortedMap<String, SimulatedEntry>()
    private(set) var durable = SortedMap<String, SimulatedEntry>()
    private(set) var changes: [NameChange] = []

    static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    /// The names in `directory`, sorted.
    func names(in directory: String) -> [String] {
        let prefix = directory + "/"
        return current.keys[current.lowerBound(prefix)...].prefix { $0.hasPrefix(prefix) }
            .map { String($0.dropFirst(prefix.count)) }.filter { !$0.contains("/") }
    }

    /// Everything at and below `path`.
    func paths(under path: String) -> [String] {
        let prefix = path + "/"
        let below = current.keys[current.lowerBound(prefix)...].prefix { $0.hasPrefix(prefix) }
        return (current[path] == nil ? [] : [path]) + below
    }

    mutating func change(
        _ sequence: UInt64, removing: [String] = [], adding: [(path: String, entry: SimulatedEntry)] = []
    ) {
        for path in removing { current[path] = nil }
        for (path, entry) in adding { current[path] = entry }
        for directory in Self.directories(removing + adding.map(\.path)) {
            changes.append(
                NameChange(
                    sequence: sequence, directory: directory,
                    removed: removing.filter { Self.directory(of: $0) == directory },
                    added: adding.filter { Self.directory(of: $0.path) == directory }))
        }
    }

    /// The mount points: names at the top are there from the start, or at once.
    mutating func mount(_ path: String) {
        current[path] = .directory
        durable[path] = .directory
    }

    mutating func sync(_ directory: String, upTo sequence: UInt64) {
        for change in changes where change.directory == directory && change.sequence <= sequence { apply(change) }
        changes.removeAll { $0.directory == directory && $0.sequence <= sequence }
    }

    /// A name that is there, on the medium and all, at once.
    mutating func set(_ path: String, _ entry: SimulatedEntry) {
        current[path] = entry
        durable[path] = entry
        // Whatever is pending on that name is older, and must not come after it.
        for index in changes.indices where changes[index].directory == Self.directory(of: path) {
            changes[index].removed.removeAll { $0 == path }
            changes[index].added.removeAll { $0.path == path }
        }
        changes.removeAll { $0.removed.isEmpty && $0.added.isEmpty }
    }

    mutating func losePower(_ policy: PowerLossPolicy, random: inout SeededRandom) {
        let torn = Int(random.below(Int64(changes.count + 1)))
        for (index, change) in changes.enumerated() {
            let isKept =
                switch policy {
                case .keepNothing, .contentsOnly: false
                case .keepEverything, .namesOnly, .sizesWithoutContents, .lastWriteUpTo, .lastWriteBehind: true
                case .allButFirst: index > 0
                case .onlyLast: index + 1 == changes.count
                case .youngerFiles: index >= changes.count / 2
                case .olderFiles: index < changes.count / 2
                case .someOperations, .someSectors: random.oneIn(2)
                case .tornLastWrite: index < torn
                }
            if isKept { apply(change) }
        }
        // What lies in a directory that is not there is not there either.
        for path in durable.keys where !hasAncestors(path) { durable[path] = nil }
        (current, changes) = (durable, [])
    }

    mutating func wipe() {
        self = SimulatedNames()
    }

    private func hasAncestors(_ path: String) -> Bool {
        var directory = Self.directory(of: path)
        while !directory.isEmpty {
            guard durable[directory] == .directory else { return false }
            directory = Self.directory(of: directory)
        }
        return true
    }

    private mutating func apply(_ change: NameChange) {
        for path in change.removed { durable[path] = nil }
        for (path, entry) in change.added { durable[path] = entry }
    }

    private static func directories(_ paths: [String]) -> [String] {
        var found: [String] = []
        for path in paths {
            let directory = directory(of: path)
            if !found.contains(directory) { found.append(directory) }
        }
        return found
    }
}
