// The cleaner's map of keys: its hash is the published one, its answers are a dictionary's, its size is bounded.

import Model
import Storage
import Testing

@Suite struct OffsetMapTests {
    /// The vectors that come with SipHash's reference: key 00 01 … 0f, input 00 01 … of rising length.
    @Test(arguments: [
        (0, "a3817f04ba25a8e66df67214c7550293"), (1, "da87c1d86b99af44347659119b22fc45"),
    ]) func theHashIsSipHash(_ count: Int, _ expected: String) {
        let input = (0..<count).map { UInt8($0) }
        let hash = input.withUnsafeBytes {
            KeyHasher(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908).hash($0)
        }
        let bytes = [hash.high, hash.low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
        }
        #expect(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == expected)
    }

    @Test func everyByteAndTheSecretMatter() {
        var seen: Set<KeyHash> = []
        var count = 0
        for length in 0..<40 {
            for place in 0...length {
                var input = [UInt8](repeating: 0, count: length)
                if place < length { input[place] = 1 }
                for hasher in [KeyHasher(1, 2), KeyHasher(2, 1)] {
                    seen.insert(input.withUnsafeBytes { hasher.hash($0) })
                    count += 1
                }
            }
        }
        #expect(seen.count == count)
    }

    @Test func itAnswersAsADictionaryWould() {
        var random = SeededRandom(seed: 4)
        var map = OffsetMap(bytesMax: 1 << 20)
        var model: [KeyHash: Offset] = [:]
        for _ in 0..<3_000 {
            // Few high parts and low slots, so that tables collide and grow.
            let hash = KeyHash(
                high: UInt64(random.below(5)) << 58 | UInt64(random.below(900)), low: UInt64(random.below(40)))
            let offset = Offset(random.below(1 << 40))
            let isTaken = map.put(hash, offset)
            #expect(isTaken)
            model[hash] = max(model[hash] ?? -1, offset)
        }
        #expect(map.count == model.count)
        #expect(model.allSatisfy { map.offset(of: $0.key) == $0.value })
        #expect(map.offset(of: KeyHash(high: 9 << 58, low: 0)) == nil)
    }

    @Test func itTakesWhatFitsAndSaysWhenItIsFull() {
        for budget in [0, 384, 5_000, 30_000, 100_000] {
            var random = SeededRandom(seed: 8)
            var map = OffsetMap(bytesMax: budget)
            var taken: [KeyHash] = []
            while true {
                let hash = KeyHash(high: random.next(), low: random.next())
                guard map.put(hash, Offset(taken.count)) else { break }
                taken.append(hash)
            }
            #expect(map.sizeBytes <= max(budget, 384))
            #expect(taken.count >= 1 && map.count == taken.count)
            // A table of a full map is well used; a map of hardly any bytes has hardly any tables.
            if budget >= 30_000 { #expect(taken.count * 24 >= budget / 6) }
            // What is known can still be raised.
            let isRaised = map.put(taken[0], 1_000_000)
            #expect(isRaised && map.offset(of: taken[0]) == 1_000_000)
            #expect(taken.enumerated().dropFirst().allSatisfy { map.offset(of: $1) == Offset($0) })
        }
    }
}
