// micro-speed: what Martlet's inner operations cost, called from outside their modules. `count` is meant for callgrind
// (Tests/MicroGuardTests) and prints allocations; `time` prints nanoseconds, and so does Benchmarks/MicroTime with more
// care.

import MicroCases

let arguments = CommandLine.arguments.dropFirst()
let cases = microCases()
switch arguments.first {
case "time": time(cases, rounds: arguments.dropFirst().first.flatMap { Int($0) } ?? 7)
case "count": count(cases)
case "loop": loop(cases, named: arguments.dropFirst().joined(separator: " "))
case "list": for one in cases { print(one.name) }
default: print("usage: micro-speed time [rounds] | count | loop NAME | list")
}
