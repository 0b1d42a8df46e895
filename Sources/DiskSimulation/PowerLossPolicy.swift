// What a loss of power leaves of the writes that no barrier had covered.

package enum PowerLossPolicy: Hashable, Sendable, CustomStringConvertible {
    /// Nothing.
    case keepNothing
    /// All of them, as after a kill of the process.
    case keepEverything
    /// Contents of files, but no name made, changed or removed since the last barrier on its directory.
    case contentsOnly
    /// Names, but no contents.
    case namesOnly
    /// Files have their new sizes, and garbage or zeros where the new bytes should be.
    case sizesWithoutContents(seed: UInt64)
    /// Each operation is kept whole or lost whole, by lot.
    case someOperations(seed: UInt64)
    /// Each sector of 512 bytes is kept or lost by lot, and each change of a name or a size.
    case someSectors(seed: UInt64)
    /// Operations are kept in order up to one drawn by lot, of which only the first bytes are.
    case tornLastWrite(seed: UInt64)
    /// All but the oldest operation on each file.
    case allButFirst
    /// Only the youngest operation on each file, and the youngest change of a name.
    case onlyLast
    /// Everything, but of the youngest write to each file only the sectors before the given edge: 0 loses it whole.
    case lastWriteUpTo(sector: Int)
    /// Everything, but of the youngest write to each file only what lies behind that edge.
    case lastWriteBehind(sector: Int)
    /// Files made later have all of theirs, those made earlier nothing: the order between files is turned around.
    case youngerFiles
    /// The other way round.
    case olderFiles

    package var description: String {
        switch self {
        case .keepNothing: "keepNothing"
        case .keepEverything: "keepEverything"
        case .contentsOnly: "contentsOnly"
        case .namesOnly: "namesOnly"
        case .sizesWithoutContents(let seed): "sizesWithoutContents(\(seed))"
        case .someOperations(let seed): "someOperations(\(seed))"
        case .someSectors(let seed): "someSectors(\(seed))"
        case .tornLastWrite(let seed): "tornLastWrite(\(seed))"
        case .allButFirst: "allButFirst"
        case .onlyLast: "onlyLast"
        case .lastWriteUpTo(let sector): "lastWriteUpTo(\(sector))"
        case .lastWriteBehind(let sector): "lastWriteBehind(\(sector))"
        case .youngerFiles: "youngerFiles"
        case .olderFiles: "olderFiles"
        }
    }

    var seed: UInt64 {
        switch self {
        case .sizesWithoutContents(let seed), .someOperations(let seed), .someSectors(let seed),
            .tornLastWrite(let seed):
            seed
        default: 0
        }
    }
}
