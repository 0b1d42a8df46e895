// One node: its control and its shards, made together from a data directory. Each half is stepped by its own thread and
// never touches the other.

import Metadata
import Model
import Storage

package enum BootError: Error, Sendable {
    /// One sentence for the operator: another cluster's or node's directory, an unreadable file.
    case refused(String)
}

package struct Node {
    package let control: Control
    package let shards: [Shard]

    /// Reads (and formats, when empty) the data directory and recovers the metadata log. Blocking; before anything is
    /// served.
    ///
    /// - Parameters:
    ///   - seed: of ids that all may see, and from which it could be told.
    ///   - secret: of what nobody may guess.
    package static func boot(
        _ configuration: NodeConfiguration, controlDisk: any Disk, shardDisks: [any Disk], seed: UInt64,
        secret: UInt64, at reading: ClockReading
    ) throws(BootError) -> Node {
        var random = SeededRandom(seed: seed)
        var secrets = SeededRandom(seed: secret)
        let directory = try DataDirectory.open(
            configuration.dataDirectory, nodeID: configuration.nodeID, on: controlDisk, random: &random)
        do {
            let previousEpoch = try directory.takeCleanShutdown(on: controlDisk)
            var settings = LogSettings()
            settings.segmentBytes = configuration.log.metadataSegmentBytes
            settings.plantedBug = configuration.plantedBug
            let (log, snapshot) = try MetadataLog.open(
                disk: controlDisk, directory: directory.metadataPath, settings: settings, wallMs: reading.wallMs)
            let control = Control(
                configuration: configuration, disk: controlDisk, shardCount: shardDisks.count, directory: directory,
                metadataLog: log, snapshot: snapshot, previousBrokerEpoch: previousEpoch, random: random, at: reading)
            try Checkpoints.gather(forShards: shardDisks.count, on: shardDisks[0], directory)
            let shards = try shardDisks.enumerated().map { index, disk in
                Shard(
                    index: index, of: shardDisks.count, configuration: configuration, directory: directory, disk: disk,
                    checkpoints: try Checkpoints(reading: disk, directory, shard: index, of: shardDisks.count),
                    secret: secrets.next(), at: reading)
            }
            try control.start()
            return Node(control: control, shards: shards)
        } catch let error as BootError {
            throw error
        } catch let error as MetadataCorruption {
            throw .refused(error.text)
        } catch {
            throw .refused("the data directory \(configuration.dataDirectory) cannot be used: \(error)")
        }
    }
}
