// The variables that the process was started with.

import Glibc

package enum ProcessEnvironment {
    /// Those that matter to a node, read once at its start.
    package static func variables() -> [String: String] {
        var found: [String: String] = [:]
        for name in ["MARTLET_LOG", "MARTLET_TIMING_SCALE"] {
            if let value = getenv(name) { found[name] = String(cString: value) }
        }
        return found
    }
}
