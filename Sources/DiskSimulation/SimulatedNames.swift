// The directories of the simulated disk, as they are and as a loss of power would leave them.

import Model

/// What a name stands for. A directory keeps its number under another name, as an inode does: what is written into it
/// afterwards is never found in another one that has its old name.
enum SimulatedEntry: Equatable {
    case directory(Int)
    case file(Int)

    var fileNumber: Int? {
        if case .file(let number) = self { number } else { nil }
    }

    var directoryNumber: Int? {
        if case .directory(let number) = self { number } else { nil }
    }
}

/// A change of one directory that no barrier on it has covered yet. A renaming within a directory is one change: it
/// happens whole or not at all, with everything below.
private struct NameChange {
    var sequence: UInt64
    var directory: Int
    var removed: [String]
    var added: [(name: String, entry: SimulatedEntry)]
}

struct SimulatedNames {
    private struct Directory {
        var current = SortedMap<String, SimulatedEntry>()
        var durable = SortedMap<String, SimulatedEntry>()
    }

    /// By number. The first is the root.
    private var directories = [Directory()]
    private var changes: [NameChange] = []

    static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    /// In the root a name keeps its slash, so that a path is never empty.
    private static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return ("", path) }
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    static func name(of path: String) -> String { split(path).name }

    // MARK: Looking

    func entry(_ name: String, in directory: Int) -> SimulatedEntry? { directories[directory].current[name] }

    subscript(path: String) -> SimulatedEntry? {
        let (directory, name) = Self.split(path)
        return number(of: directory).flatMap { directories[$0].current[name] }
    }

    func isDirectory(_ path: String) -> Bool { number(of: path) != nil }

    /// The number of the directory that has this path now.
    func number(of path: String) -> Int? { path.isEmpty ? 0 : self[path]?.directoryNumber }

    /// Whether a loss of power leaves it under its name.
    func isDurable(_ path: String) -> Bool {
        guard !path.isEmpty else { return true }
        let (directory, name) = Self.split(path)
        guard let parent = number(of: directory) else { return false }
        let names = directories[parent]
        return names.current[name] == names.durable[name] && isDurable(directory)
    }

    /// The names in `directory`, sorted.
    func names(in directory: String) -> [String] {
        number(of: directory).map { directories[$0].current.keys } ?? []
    }

    /// All files that have a name, sorted.
    func files() -> [(path: String, number: Int)] {
        var found: [(path: String, number: Int)] = []
        collect(0, at: "", into: &found)
        return found.sorted { $0.path < $1.path }
    }

    private func collect(_ directory: Int, at path: String, into found: inout [(path: String, number: Int)]) {
        for (name, entry) in directories[directory].current {
            let below = path.isEmpty ? name : "\(path)/\(name)"
            switch entry {
            case .file(let number): found.append((below, number))
            case .directory(let number): collect(number, at: below, into: &found)
            }
        }
    }

    // MARK: Changing

    mutating func add(_ path: String, _ entry: SimulatedEntry, _ sequence: UInt64) {
        let (directory, name) = Self.split(path)
        guard let parent = number(of: directory) else { return }
        change(parent, sequence, adding: [(name, entry)])
    }

    /// The mount points, at the top, are there at once.
    mutating func makeDirectory(_ path: String, _ sequence: UInt64) {
        let (parent, name) = Self.split(path)
        directories.append(Directory())
        let entry = SimulatedEntry.directory(directories.count - 1)
        if parent.isEmpty { put(entry, as: name, in: 0) } else { add(path, entry, sequence) }
    }

    mutating func rename(_ path: String, to newPath: String, _ sequence: UInt64) {
        let (from, to) = (Self.split(path), Self.split(newPath))
        guard let entry = self[path], let old = number(of: from.directory), let new = number(of: to.directory) else {
            return
        }
        if old == new {
            change(old, sequence, removing: [from.name], adding: [(to.name, entry)])
        } else {
            change(old, sequence, removing: [from.name])
            change(new, sequence, adding: [(to.name, entry)])
        }
    }

    /// With everything below it, each directory for itself.
    mutating func remove(_ path: String, _ sequence: UInt64) {
        if let below = number(of: path) {
            for name in directories[below].current.keys { remove("\(path)/\(name)", sequence) }
        }
        let (directory, name) = Self.split(path)
        guard let parent = number(of: directory) else { return }
        change(parent, sequence, removing: [name])
    }

    private mutating func change(
        _ directory: Int, _ sequence: UInt64, removing: [String] = [],
        adding: [(name: String, entry: SimulatedEntry)] = []
    ) {
        for name in removing { directories[directory].current[name] = nil }
        for (name, entry) in adding { directories[directory].current[name] = entry }
        // What one operation takes away together goes together.
        if let last = changes.indices.last, changes[last].sequence == sequence, changes[last].directory == directory {
            changes[last].removed += removing
            changes[last].added += adding
        } else {
            changes.append(
                NameChange(sequence: sequence, directory: directory, removed: removing, added: adding))
        }
    }

    /// A name that is there, on the medium and all, at once.
    mutating func put(_ entry: SimulatedEntry, as name: String, in directory: Int) {
        directories[directory].current[name] = entry
        directories[directory].durable[name] = entry
        // Whatever is pending on that name is older, and must not come after it.
        for index in changes.indices where changes[index].directory == directory {
            changes[index].removed.removeAll { $0 == name }
            changes[index].added.removeAll { $0.name == name }
        }
        changes.removeAll { $0.removed.isEmpty && $0.added.isEmpty }
    }

    // MARK: The medium

    mutating func sync(_ directory: String, upTo sequence: UInt64) {
        guard let number = number(of: directory) else { return }
        for change in changes where change.directory == number && change.sequence <= sequence { apply(change) }
        changes.removeAll { $0.directory == number && $0.sequence <= sequence }
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
        changes = []
        for number in directories.indices { directories[number].current = directories[number].durable }
    }

    mutating func wipe() {
        self = SimulatedNames()
    }

    private mutating func apply(_ change: NameChange) {
        for name in change.removed { directories[change.directory].durable[name] = nil }
        for (name, entry) in change.added { directories[change.directory].durable[name] = entry }
    }
}
