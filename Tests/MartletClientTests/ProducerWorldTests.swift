// The producer's machine in random worlds: nothing twice, nothing out of order, nothing said that is not so.

import Testing

@Suite struct ProducerWorldTests {
    private func fails(_ seeds: Range<UInt64>, _ settings: ProducerWorld.Settings) -> [String] {
        for seed in seeds {
            var world = ProducerWorld(seed: seed, settings: settings)
            let complaints = world.run()
            if !complaints.isEmpty {
                world = ProducerWorld(seed: seed, settings: settings)
                world.isTracing = true
                _ = world.run()
                return ["seed \(seed)"] + complaints.prefix(5) + ["the last that happened:"] + world.trace.suffix(40)
            }
        }
        return []
    }

    @Test func everythingIsWrittenOnceAndInOrder() {
        let found = fails(0..<300, ProducerWorld.Settings())
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }

    /// Records that run out of time may be written or not, but what stands, stands once and in order.
    @Test func whatRunsOutOfTimeIsNeverWrittenTwice() {
        for deliveryTimeoutMs: Int64 in [150, 700] {
            let settings = ProducerWorld.Settings(deliveryTimeoutMs: deliveryTimeoutMs, mayArriveLate: false)
            let found = fails(1_000..<1_050, settings)
            #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
        }
    }

    @Test func withoutIdempotenceNothingSaidToBeWrittenIsMissing() {
        let found = fails(2_000..<2_100, ProducerWorld.Settings(isIdempotent: false))
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }

    /// The world can fail: nodes that recognise nothing hold duplicates, and it sees them.
    @Test func seesTheDuplicatesOfNodesThatForget() {
        let found = fails(0..<20, ProducerWorld.Settings(nodesForget: true))
        #expect(found.contains { $0.contains("duplicates") || $0.contains("out of order") })
    }
}
