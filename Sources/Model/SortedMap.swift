// A map that is always walked in key order, so that no decision depends on hashing. An array with binary search: few
// keys, many reads.

public struct SortedMap<Key: Comparable & Hashable & Sendable, Value>: Sequence {
    @usableFromInline var sortedKeys: [Key] = []
    @usableFromInline var sortedValues: [Value] = []

    @inlinable public var keys: [Key] { sortedKeys }
    @inlinable public var values: [Value] { sortedValues }

    @inlinable public init() {}

    @inlinable public init(_ pairs: some Sequence<(Key, Value)>) {
        for (key, value) in pairs { self[key] = value }
    }

    @inlinable public var count: Int { sortedKeys.count }
    @inlinable public var isEmpty: Bool { sortedKeys.isEmpty }

    @inlinable public subscript(key: Key) -> Value? {
        get {
            let index = lowerBound(key)
            return index < sortedKeys.count && sortedKeys[index] == key ? sortedValues[index] : nil
        }
        set {
            let index = lowerBound(key)
            let found = index < sortedKeys.count && sortedKeys[index] == key
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
    @inlinable public subscript(key: Key, default fallback: @autoclosure () -> Value) -> Value {
        get { self[key] ?? fallback() }
        _modify {
            let index = lowerBound(key)
            if index == sortedKeys.count || sortedKeys[index] != key {
                sortedKeys.insert(key, at: index)
                sortedValues.insert(fallback(), at: index)
            }
            yield &sortedValues[index]
        }
    }

    @discardableResult
    @inlinable public mutating func removeValue(forKey key: Key) -> Value? {
        let index = lowerBound(key)
        guard index < sortedKeys.count, sortedKeys[index] == key else { return nil }
        sortedKeys.remove(at: index)
        return sortedValues.remove(at: index)
    }

    @inlinable public mutating func removeAll() {
        sortedKeys.removeAll()
        sortedValues.removeAll()
    }

    /// The first index whose key is not below `key`.
    @inlinable public func lowerBound(_ key: Key) -> Int {
        var low = 0
        var high = sortedKeys.count
        while low < high {
            let middle = (low + high) / 2
            if sortedKeys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    public struct Iterator: IteratorProtocol {
        @usableFromInline let map: SortedMap
        @usableFromInline var index = 0

        @inlinable init(_ map: SortedMap) { self.map = map }

        @inlinable public mutating func next() -> (key: Key, value: Value)? {
            guard index < map.sortedKeys.count else { return nil }
            defer { index += 1 }
            return (map.sortedKeys[index], map.sortedValues[index])
        }
    }

    @inlinable public func makeIterator() -> Iterator { Iterator(self) }
}

extension SortedMap: Equatable where Value: Equatable {}
extension SortedMap: Hashable where Value: Hashable {}
extension SortedMap: Sendable where Value: Sendable {}
