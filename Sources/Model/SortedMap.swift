// A map that is always walked in key order, so that no decision depends on hashing. An array with binary search: few
// keys, many reads.

package struct SortedMap<Key: Comparable & Hashable & Sendable, Value>: Sequence {
    package private(set) var keys: [Key] = []
    package private(set) var values: [Value] = []

    package init() {}

    package init(_ pairs: some Sequence<(Key, Value)>) {
        for (key, value) in pairs { self[key] = value }
    }

    package var count: Int { keys.count }
    package var isEmpty: Bool { keys.isEmpty }

    package subscript(key: Key) -> Value? {
        get {
            let index = lowerBound(key)
            return index < keys.count && keys[index] == key ? values[index] : nil
        }
        set {
            let index = lowerBound(key)
            let found = index < keys.count && keys[index] == key
            switch (newValue, found) {
            case (let value?, true): values[index] = value
            case (let value?, false):
                keys.insert(key, at: index)
                values.insert(value, at: index)
            case (nil, true):
                keys.remove(at: index)
                values.remove(at: index)
            case (nil, false): break
            }
        }
    }

    /// Changes the value in place, without a copy out and in.
    package subscript(key: Key, default fallback: @autoclosure () -> Value) -> Value {
        get { self[key] ?? fallback() }
        _modify {
            let index = lowerBound(key)
            if index == keys.count || keys[index] != key {
                keys.insert(key, at: index)
                values.insert(fallback(), at: index)
            }
            yield &values[index]
        }
    }

    @discardableResult
    package mutating func removeValue(forKey key: Key) -> Value? {
        let index = lowerBound(key)
        guard index < keys.count, keys[index] == key else { return nil }
        keys.remove(at: index)
        return values.remove(at: index)
    }

    package mutating func removeAll() {
        keys.removeAll()
        values.removeAll()
    }

    /// The first index whose key is not below `key`.
    package func lowerBound(_ key: Key) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    package struct Iterator: IteratorProtocol {
        private let map: SortedMap
        private var index = 0

        init(_ map: SortedMap) { self.map = map }

        package mutating func next() -> (key: Key, value: Value)? {
            guard index < map.keys.count else { return nil }
            defer { index += 1 }
            return (map.keys[index], map.values[index])
        }
    }

    package func makeIterator() -> Iterator { Iterator(self) }
}

extension SortedMap: Equatable where Value: Equatable {}
extension SortedMap: Hashable where Value: Hashable {}
extension SortedMap: Sendable where Value: Sendable {}
