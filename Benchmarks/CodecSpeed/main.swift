// codec-speed: how fast messages are decoded and encoded, called from another module than the codec's, as the broker
// does. `codec-speed time` prints nanoseconds; `codec-speed count` is meant for callgrind (Tests/CodecGuardTests).

import NIOCore

let arguments = CommandLine.arguments.dropFirst()
let cases = codecCases()
switch arguments.first {
case "time": time(cases, rounds: arguments.dropFirst().first.flatMap { Int($0) } ?? 7)
case "count": count(cases)
case "loop": loop(cases, named: arguments.dropFirst().joined(separator: " "))
case "list": for one in cases { print(one.name) }
default: print("usage: codec-speed time [rounds] | count | loop NAME | list")
}
