// Randomness by key: who draws, and for what. A fault that is left out takes its own draws with it and nobody else's,
// so that what remains can still be the run that failed.

import Model

struct Lots: Sendable {
    enum Purpose: UInt64, Sendable {
        case network = 1
        case disk
        case mail
        case start
        case boot
        case downtime
        case load
        case schedule
        case chaos
        case shards
        case groups
    }

    let seed: UInt64

    func stream(_ purpose: Purpose, _ keys: UInt64...) -> SeededRandom {
        var state = Lots.mixed(seed, purpose.rawValue)
        for key in keys { state = Lots.mixed(state, key) }
        return SeededRandom(seed: state)
    }

    /// One step of SplitMix64 over both.
    static func mixed(_ state: UInt64, _ key: UInt64) -> UInt64 {
        var mix = state ^ (key &+ 0x9E37_79B9_7F4A_7C15 &+ state << 6 &+ state >> 2)
        mix = (mix ^ mix >> 30) &* 0xBF58_476D_1CE4_E5B9
        mix = (mix ^ mix >> 27) &* 0x94D0_49BB_1331_11EB
        return mix ^ mix >> 31
    }
}
