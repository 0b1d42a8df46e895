// When a log rolls and how densely it is indexed.

import Model

/// The part of a topic's configuration that its log obeys, under Kafka's meanings.
package struct LogSettings: Equatable, Sendable {
    /// `segment.bytes`: a segment never grows past this, unless a single batch is larger.
    package var segmentBytes: Int64
    /// `segment.ms`: a batch this much younger than its segment's first one begins the next segment.
    package var segmentMs: Int64
    /// `index.interval.bytes`: how many bytes of batches lie between two index entries.
    package var indexIntervalBytes: Int
    /// `segment.index.bytes`: a segment whose index is this large is full.
    package var indexBytesMax: Int
    /// Segments below the log start keep their bytes under another name until `purgeRemoved`; else they go at once.
    package var delaysRemoval: Bool
    /// `cleanup.policy` holds compact: there may be empty batches.
    package var isCompacted: Bool
    /// For the simulator alone.
    package var plantedBug: PlantedBug

    package init(
        segmentBytes: Int64 = 1 << 30,
        segmentMs: Int64 = 7 * 24 * 3_600_000,
        indexIntervalBytes: Int = 4096,
        indexBytesMax: Int = 10 * 1024 * 1024,
        delaysRemoval: Bool = false,
        isCompacted: Bool = false,
        plantedBug: PlantedBug = .none
    ) {
        self.segmentBytes = segmentBytes
        self.segmentMs = segmentMs
        self.indexIntervalBytes = indexIntervalBytes
        self.indexBytesMax = indexBytesMax
        self.delaysRemoval = delaysRemoval
        self.isCompacted = isCompacted
        self.plantedBug = plantedBug
    }
}
