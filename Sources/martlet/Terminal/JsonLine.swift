// A record as one line of JSON, written straight into the output: a million of them must not be a million dictionaries.

import MartletClient
import NIOCore

/// The same fields in the same order as `Json` gives them: by name.
enum JsonLine {
    static func write(_ record: ConsumerRecord, into output: inout ByteBuffer) {
        output.writeStaticString("{\"headers\":[")
        for (index, header) in record.headers.enumerated() {
            output.writeStaticString(index == 0 ? "{\"name\":\"" : ",{\"name\":\"")
            var name = header.name
            name.withUTF8 { writeEscaped(UnsafeRawBufferPointer($0), into: &output) }
            output.writeStaticString("\",")
            write("value", header.value, into: &output)
            output.writeStaticString("}")
        }
        output.writeStaticString("],")
        write("key", record.key, into: &output)
        output.writeString(",\"offset\":\(record.offset),\"partition\":\(record.partition),\"timestampMs\":")
        if record.timestampMs < 0 {
            output.writeStaticString("null")
        } else {
            output.writeString("\(record.timestampMs)")
        }
        output.writeStaticString(",\"topic\":\"")
        var topic = record.topic
        topic.withUTF8 { writeEscaped(UnsafeRawBufferPointer($0), into: &output) }
        output.writeStaticString("\",")
        write("value", record.value, into: &output)
        output.writeStaticString("}\n")
    }

    /// Text as it is; bytes that are no text under another name, in Base64.
    private static func write(_ name: StaticString, _ bytes: ByteBuffer?, into output: inout ByteBuffer) {
        output.writeStaticString("\"")
        output.writeStaticString(name)
        guard let bytes else {
            output.writeStaticString("\":null")
            return
        }
        bytes.withUnsafeReadableBytes { content in
            if isText(content) {
                output.writeStaticString("\":\"")
                writeEscaped(content, into: &output)
            } else {
                output.writeStaticString("Base64\":\"")
                output.writeString(base64(bytes))
            }
        }
        output.writeStaticString("\"")
    }

    private static func isText(_ bytes: UnsafeRawBufferPointer) -> Bool {
        // Most text is ASCII, which needs no decoding to be told.
        isASCII(bytes) || String(validating: bytes, as: UTF8.self) != nil
    }

    private static func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var (at, seen) = (0, UInt64(0))
        while at + 8 <= bytes.count {
            seen |= bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            at += 8
        }
        while at < bytes.count {
            seen |= UInt64(bytes[at])
            at += 1
        }
        return seen & 0x8080_8080_8080_8080 == 0
    }

    /// The inside of a JSON string: bytes that need no escape in one piece.
    private static func writeEscaped(_ bytes: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
        var (start, index) = (0, -1)
        while index + 1 < bytes.count {
            index += 1
            let byte = bytes[index]
            guard byte < 0x20 || byte == 0x22 || byte == 0x5C || byte == 0x7F else { continue }
            output.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
            start = index + 1
            switch byte {
            case 0x22: output.writeStaticString("\\\"")
            case 0x5C: output.writeStaticString("\\\\")
            case 0x0A: output.writeStaticString("\\n")
            case 0x0D: output.writeStaticString("\\r")
            case 0x09: output.writeStaticString("\\t")
            default:
                output.writeStaticString("\\u00")
                output.writeInteger(hexDigit(byte >> 4))
                output.writeInteger(hexDigit(byte & 15))
            }
        }
        output.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start...]))
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
