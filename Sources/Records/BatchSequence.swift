// The whole batches in a run of bytes, one after the other.

import NIOCore

/// Walks from the reader index by the batches' own lengths, and stops before the first that is not whole or does not
/// read as a batch. Looks at nothing but the headers: check the CRCs first if the bytes come from outside.
package struct BatchSequence: Sequence {
    private let buffer: ByteBuffer

    package init(_ buffer: ByteBuffer) { self.buffer = buffer }

    /// The buffer's index after the last whole batch. Walks all of them.
    package var endIndex: Int {
        var iterator = makeIterator()
        while iterator.nextHeader() != nil {}
        return iterator.index
    }

    package func makeIterator() -> Iterator { Iterator(buffer) }

    package struct Iterator: IteratorProtocol {
        private let buffer: ByteBuffer
        /// Where the next batch starts, or the bytes that are none.
        package private(set) var index: Int

        fileprivate init(_ buffer: ByteBuffer) {
            self.buffer = buffer
            index = buffer.readerIndex
        }

        package mutating func next() -> (header: BatchHeader, bytes: ByteBuffer)? {
            let start = index
            guard let header = nextHeader(), let bytes = buffer.getSlice(at: start, length: header.sizeBytes) else {
                return nil
            }
            return (header, bytes)
        }

        /// As `next`, without the slice.
        package mutating func nextHeader() -> BatchHeader? {
            guard let header = BatchHeader(reading: buffer, at: index), header.sizeBytes <= buffer.writerIndex - index
            else { return nil }
            index += header.sizeBytes
            return header
        }
    }
}
