// The records of a batch as text and as JSON: what a client wrote, what the metadata log says, and control records.

import Model
import NIOCore
import Records
import Wire

enum DumpedRecords {
    /// More than any topic's `max.message.bytes` unpacks to.
    static let unpackedBytesMax = 1 << 29

    /// - Parameter isMetadata: values are records of the metadata log.
    static func text(_ record: Record, isControl: Bool, isMetadata: Bool) -> String {
        var parts = ["offset \(record.offset)"]
        if record.timestamp >= 0 { parts.append(timeText(record.timestamp)) }
        if let meaning = meaning(record, isControl: isControl, isMetadata: isMetadata) {
            parts.append(meaning)
        } else {
            if let key = record.key { parts.append("key \(quoted(key))") }
            parts.append("value \(record.value.map(quoted) ?? "null")")
            for header in record.headers {
                parts.append("\(header.name.printable)=\(header.value.map(quoted) ?? "null")")
            }
        }
        return parts.joined(separator: "  ")
    }

    static func json(_ record: Record, isControl: Bool, isMetadata: Bool) -> Json {
        var fields: [String: Json] = [
            "type": "record".json, "offset": record.offset.json, "timestampMs": record.timestamp.json,
        ]
        if let meaning = meaning(record, isControl: isControl, isMetadata: isMetadata) {
            fields["record"] = meaning.json
            fields["name"] = String(meaning.prefix { $0.isLetter }).json
        } else {
            fields.put("key", record.key)
            fields.put("value", record.value)
            fields.put(record.headers)
        }
        return .object(fields)
    }

    /// The record by name, where its form is known; nil for what a client wrote.
    private static func meaning(_ record: Record, isControl: Bool, isMetadata: Bool) -> String? {
        if isControl { return controlMeaning(record) }
        guard isMetadata else { return nil }
        guard let value = record.value else { return "a metadata record without a value" }
        do throws(WireError) {
            return try MetadataRecord.decode(value).description
        } catch {
            return "a metadata record that this build cannot read (\(error)): \(hex(value))"
        }
    }

    private static func controlMeaning(_ record: Record) -> String {
        do throws(WireError) {
            guard let keyBytes = record.key else { return "a control record without a key" }
            let key = try ControlRecordKey.decode(keyBytes)
            let value = record.value ?? ByteBuffer()
            switch key.type {
            case .abort: return "Abort"
            case .commit: return "Commit"
            case .leaderChange: return try line(LeaderChangeMessage.self, value)
            case .snapshotHeader: return try line(SnapshotHeaderRecord.self, value)
            case .snapshotFooter: return try line(SnapshotFooterRecord.self, value)
            case .kraftVersion: return try line(KRaftVersionRecord.self, value)
            case .voters: return try line(VotersRecord.self, value)
            default: return "a control record of type \(key.typeCode)"
            }
        } catch {
            return "a control record that this build cannot read (\(error))"
        }
    }

    private static func line<R: WireControlRecord>(_ type: R.Type, _ value: ByteBuffer) throws(WireError) -> String {
        let record = try decodeControlRecord(type, from: value)
        return "\(R.self)" + WirePrinter.text(record, version: record.version)
    }

    static func quoted(_ bytes: ByteBuffer) -> String {
        guard let text = utf8(bytes) else { return "0x" + hex(bytes) }
        return "\"" + text.printable + "\""
    }

    private static func utf8(_ bytes: ByteBuffer) -> String? {
        String(validating: bytes.readableBytesView, as: UTF8.self)
    }

    private static func hex(_ bytes: ByteBuffer) -> String {
        var text = ""
        for byte in bytes.readableBytesView { text += (byte < 16 ? "0" : "") + String(byte, radix: 16) }
        return text
    }
}
