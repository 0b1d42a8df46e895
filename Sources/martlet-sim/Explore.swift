// martlet-sim explore: every interleaving of the cores, within printed bounds.

import ArgumentParser
import Glibc
import SmallScope

enum ExploredCore: String, ExpressibleByArgument, CaseIterable {
    case quorum, replicas, both
}

extension ScopeSize: ExpressibleByArgument {}
extension SmallScopeBug: ExpressibleByArgument {}

struct Explore: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Search every interleaving of the quorum's and the partition's machines, within bounds.")

    @Argument(help: "Which machines: quorum, replicas or both.")
    var core: ExploredCore = .both

    @Option(help: "Which bounds: full (some minutes for each machine) or small (some seconds).")
    var scope: ScopeSize = .full

    @Option(help: "Plant a bug around the machines: the search must find it.")
    var bug: SmallScopeBug = .none

    @Option(help: "Search only the nth of the scope's bounds, from 1.")
    var only: Int?

    @Option(help: "Print the path to the state of this number, as a trap names it, and end.")
    var stopAt: Int = .max

    @Option(help: "Write a report in JSON to this file.")
    var report: String?

    @Option(help: "The commit that the report names.")
    var commit = ""

    @Flag(help: "Print a line for every level.")
    var progress = false

    func run() throws {
        var searched: [ExploredBounds] = []
        if core != .replicas {
            try search(
                QuorumBounds.all(scope).map { bounds in
                    var bounds = bounds
                    bounds.bug = bug
                    return QuorumScope(bounds)
                }, into: &searched)
        }
        let quorums = searched.count
        if core != .quorum {
            try search(
                ReplicaBounds.all(scope).map { bounds in
                    var bounds = bounds
                    bounds.bug = bug
                    return ReplicaScope(bounds)
                }, into: &searched)
        }
        let unheld = neverHeld(searched[..<quorums]) + neverHeld(searched[quorums...])
        for name in unheld { print("never had anything to check: \(name)") }
        let failed = searched.count { !$0.holds } + unheld.count
        let states = searched.reduce(0) { $0 + $1.report.states }
        let seconds = searched.reduce(0) { $0 + $1.processorMilliseconds } / 1_000
        print("\(states) states in all, \(seconds) s of processor time, \(ExploredBounds.memoryMiB) MiB at most")
        print("\(searched.count { $0.holds }) passed, \(failed) failed")
        if failed > 0 { throw ExitCode.failure }
    }

    /// Of the whole scope, without a bug, each invariant must have had something to check.
    private func neverHeld(_ searched: ArraySlice<ExploredBounds>) -> [String] {
        guard only == nil, stopAt == .max, searched.allSatisfy(\.holds), let names = searched.first?.report.checks
        else {
            return []
        }
        return names.indices.filter { index in searched.allSatisfy { $0.report.checks[index].count == 0 } }
            .map { names[$0].name }
    }

    /// The report is written after each, so that what ended is kept.
    private func search<World: SmallWorld>(_ worlds: [World], into searched: inout [ExploredBounds]) throws {
        for (index, world) in worlds.enumerated() where only == nil || only == index + 1 {
            searched.append(search(world, number: index + 1))
            if let report { try ExploredBounds.write(searched, scope: scope.rawValue, commit: commit, to: report) }
        }
    }

    private func search(_ world: some SmallWorld, number: Int) -> ExploredBounds {
        let notice = TrapNotice("state")
        let (start, startProcessor) = (ContinuousClock.now, ExploredBounds.processorMilliseconds)
        var search = Search(world)
        print("\(world.name) \(number): " + world.bounds.joined(separator: "\n    "))
        fflush(nil)
        let report = search.run(stopAt: stopAt, expanding: { notice.note(UInt64($0)) }) { depth, states, transitions in
            guard progress else { return }
            print("… depth \(depth), \(states) states, \(transitions) transitions")
            fflush(nil)
        }
        let explored = ExploredBounds(
            world: world.name, number: number, bounds: world.bounds, isToDepth: world.depthMax != nil,
            report: report,
            milliseconds: Int((ContinuousClock.now - start) / .milliseconds(1)),
            processorMilliseconds: ExploredBounds.processorMilliseconds - startProcessor)
        print("    \(explored.words)")
        print("    \(search.world.sizes)")
        print("    checked: " + report.checks.map { "\($0.name) \($0.count)" }.joined(separator: ", "))
        for line in report.path { print(line) }
        if let violation = report.violation { print("VIOLATED \(violation)") }
        fflush(nil)
        return explored
    }
}
