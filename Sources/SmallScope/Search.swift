// Breadth first through every state that a small world can get into, each visited once.

/// A world small enough to be searched whole. It keeps the parts of its states and answers what can happen in one.
package protocol SmallWorld {
    /// One thing that can happen; words are made of it only for a path that is shown.
    associatedtype Move: Sendable

    /// How many numbers of a row are used.
    var width: Int { get }
    var name: String { get }
    /// The bounds, one line each.
    var bounds: [String] { get }
    /// States further from the first than this are met and not expanded; nil: no such limit.
    var depthMax: Int? { get }
    /// How often each invariant had something to check so far, over all transitions.
    var checks: [(name: String, count: Int)] { get }
    /// Sizes of the tables of parts, for the report.
    var sizes: String { get }

    mutating func first() -> StateRow
    /// Everything that can happen in a state, in a fixed order.
    mutating func successors(of row: StateRow, into found: inout [Successor<Move>])
    /// A move in words, with what came of it.
    mutating func words(_ move: Move, from row: StateRow) -> [String]
}

package struct Successor<Move: Sendable>: Sendable {
    package var move: Move
    package var row: StateRow
    /// What is wrong with it: the number of an invariant and a sentence.
    package var violation: String?

    package init(move: Move, row: StateRow, violation: String?) {
        (self.move, self.row, self.violation) = (move, row, violation)
    }
}

package struct SearchReport: Sendable {
    package var states = 0
    package var transitions = 0
    package var depth = 0
    /// Every state within the bounds was expanded. False when the limit of states was met first, or an invariant broke.
    package var isComplete = false
    package var violation: String?
    /// In words, the first move first.
    package var path: [String] = []
    package var checks: [(name: String, count: Int)] = []
}

package struct Search<World: SmallWorld> {
    package private(set) var world: World
    private var store: StateStore
    private var report = SearchReport()

    package init(_ world: World) {
        self.world = world
        store = StateStore(width: world.width)
    }

    /// Runs until every state was expanded, an invariant broke, or there are more states than the limit.
    /// - Parameters:
    ///   - stopAt: ends before this state is expanded, with the path to it: for one whose expansion traps.
    ///   - expanding: called before each expansion with the state's number.
    ///   - progress: called after each level.
    package mutating func run(
        statesMax: Int = .max, stopAt: Int = .max, expanding: (Int) -> Void = { _ in },
        progress: (_ depth: Int, _ states: Int, _ transitions: Int) -> Void = { _, _, _ in }
    ) -> SearchReport {
        _ = store.insert(world.first(), from: 0)
        var found: [Successor<World.Move>] = []
        var index = 0
        var levelEnd = 1
        while index < store.count {
            if index == levelEnd {
                report.depth += 1
                if let depthMax = world.depthMax, report.depth >= depthMax { break }
                levelEnd = store.count
                progress(report.depth, store.count, report.transitions)
            }
            if index == stopAt {
                report.path = path(to: index)
                return finished()
            }
            expanding(index)
            found.removeAll(keepingCapacity: true)
            world.successors(of: store.row(index), into: &found)
            for next in found {
                report.transitions += 1
                if let violation = next.violation {
                    report.violation = violation
                    report.path = path(to: index) + world.words(next.move, from: store.row(index))
                    return finished()
                }
                _ = store.insert(next.row, from: index)
            }
            index += 1
            if store.count > statesMax { return finished() }
        }
        report.isComplete = true
        return finished()
    }

    private mutating func finished() -> SearchReport {
        report.states = store.count
        report.checks = world.checks
        return report
    }

    /// The moves from the first state to this one: breadth first found no shorter way.
    private mutating func path(to index: Int) -> [String] {
        var rows = [index]
        while let last = rows.last, last != 0 { rows.append(store.parent(last)) }
        rows.reverse()
        var lines: [String] = []
        var found: [Successor<World.Move>] = []
        for (before, after) in zip(rows, rows.dropFirst()) {
            found.removeAll()
            let row = store.row(before)
            world.successors(of: row, into: &found)
            let target = store.row(after)
            if let step = found.first(where: { $0.row == target }) { lines += world.words(step.move, from: row) }
        }
        return lines
    }
}
