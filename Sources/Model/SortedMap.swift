// A map that is always walked in key order, so that no decision depends on hashing. An array with binary search: few
// keys, many reads. Inlinable, because a generic call that is not specialised for its types costs a hundred times as
// much, and every request makes dozens.

package struct SortedMap<Key: Comparable & Hashable & Sendable, Value>: Sequence {
    @usableFromInline var sortedKeys: [Key] = []
    @usableFromInline var sortedValues: [Value] = []

    @inlinable package var keys: [Key] { sortedKeys }
    @inlinable package var values: [Value] { sortedValues }

    @inlinable package init() {}

    @inlinable package init(_ pairs: some Sequence<(Key, Value)>) {
        for (key, value) in pairs { self[key] = value }
    }

    @inlinable package var count: Int { keys.count }
    @inlinable package var isEmpty: Bool { keys.isEmpty }

    @inlinable package subscript(key: Key) -> Value? {
        get {
            let index = lowerBound(key)
            return index < keys.count && keys[index] == key ? values[index] : nil
        }
        set {
            let index = lowerBound(key)
            let found = index < keys.count && keys[index] == key
            switch (newValue, found) {
            case (let value?, true): sortedValues[index] = value
            case (let value?, false):
                sortedKeys.insert(key, at: index)
                sortedValues.insert(value, at: index)
            case (nil, true):
                sortedKeys.remove(at: index)
                sortedValues.remove(at: index)
            case (nil, false): break
            }
        }
    }

    /// Changes the value in place, without a copy out and in.
    @inlinable package subscript(key: Key, default fallback: @autoclosure () -> Value) -> Value {
        get { self[key] ?? fallback() }
        _modify {
            let index = lowerBound(key)
            if index == keys.count || keys[index] != key {
                sortedKeys.insert(key, at: index)
                sortedValues.insert(fallback(), at: index)
            }
            yield &sortedValues[index]
        }
    }

    @inlinable @discardableResult
    package mutating func removeValue(forKey key: Key) -> Value? {
        let index = lowerBound(key)
        guard index < keys.count, keys[index] == key else { return nil }
        sortedKeys.remove(at: index)
        return sortedValues.remove(at: index)
    }

    @inlinable package mutating func removeAll() {
        sortedKeys.removeAll()
        sortedValues.removeAll()
    }

    /// The first index whose key is not below `key`.
    @inlinable package func lowerBound(_ key: Key) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    package struct Iterator: IteratorProtocol {
        @usableFromInline let map: SortedMap
        @usableFromInline var index = 0

        @inlinable init(_ map: SortedMap) { self.map = map }

        @inlinable package mutating func next() -> (key: Key, value: Value)? {
            guard index < map.keys.count else { return nil }
            defer { index += 1 }
            return (map.keys[index], map.values[index])
        }
    }

    @inlinable package func makeIterator() -> Iterator { Iterator(self) }
}

extension SortedMap: Equatable where Value: Equatable {}
extension SortedMap: Sendable where Value: Sendable {}
