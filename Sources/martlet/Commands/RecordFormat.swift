// How `martlet consume` prints a record: as text, as a JSON object a line, or by a template.

import ArgumentParser
import MartletClient
import NIOCore

struct RecordFormat {
    enum Name: String, ExpressibleByArgument, CaseIterable {
        case text, json, template
    }

    private enum Way {
        case text(keySeparator: String?, hasHeaders: Bool, hasOffsets: Bool)
        case json
        case template([Piece])
    }

    private enum Piece {
        case text(String)
        case topic, partition, offset, timestamp, key, value, headers, keySize, valueSize
    }

    private let way: Way

    init(_ command: Consume) {
        if let template = command.template {
            way = .template(Self.pieces(of: template))
        } else if command.format == .json || command.output.json {
            way = .json
        } else {
            way = .text(
                keySeparator: command.keySeparator?.unescaped ?? (command.key ? "\t" : nil),
                hasHeaders: command.headers,
                hasOffsets: command.showOffsets)
        }
    }

    func write(_ record: ConsumerRecord, into output: inout ByteBuffer) {
        switch way {
        case .text(let keySeparator, let hasHeaders, let hasOffsets):
            if hasOffsets { output.writeString("\(record.partition):\(record.offset)\t") }
            if hasHeaders {
                Self.write(record.headers, into: &output)
                output.writeInteger(UInt8(ascii: "\t"))
            }
            if let keySeparator {
                if let key = record.key { output.writeImmutableBuffer(key) }
                output.writeString(keySeparator)
            }
            if let value = record.value { output.writeImmutableBuffer(value) }
            output.writeInteger(UInt8(ascii: "\n"))
        case .json: JsonLine.write(record, into: &output)
        case .template(let pieces): for piece in pieces { Self.write(piece, of: record, into: &output) }
        }
    }

    // MARK: Templates

    private static func pieces(of template: String) -> [Piece] {
        var pieces: [Piece] = []
        var text = ""
        var rest = template[...]
        while let letter = rest.popFirst() {
            guard letter == "%" || letter == "\\", let next = rest.first else {
                text.append(letter)
                continue
            }
            if letter == "\\" {
                text += next.escaped.map { String($0) } ?? "\\\(next)"
            } else if let piece = piece(named: next) {
                pieces.append(.text(text))
                text = ""
                pieces.append(piece)
            } else {
                text += next == "%" ? "%" : "%\(next)"
            }
            rest.removeFirst()
        }
        return pieces + [.text(text)]
    }

    private static func piece(named letter: Character) -> Piece? {
        switch letter {
        case "t": .topic
        case "p": .partition
        case "o": .offset
        case "T": .timestamp
        case "k": .key
        case "s": .value
        case "h": .headers
        case "K": .keySize
        case "S": .valueSize
        default: nil
        }
    }

    private static func write(_ piece: Piece, of record: ConsumerRecord, into output: inout ByteBuffer) {
        switch piece {
        case .text(let text): output.writeString(text)
        case .topic: output.writeString(record.topic)
        case .partition: output.writeString("\(record.partition)")
        case .offset: output.writeString("\(record.offset)")
        case .timestamp: output.writeString("\(record.timestampMs)")
        case .key: if let key = record.key { output.writeImmutableBuffer(key) }
        case .value: if let value = record.value { output.writeImmutableBuffer(value) }
        case .headers: write(record.headers, into: &output)
        case .keySize: output.writeString("\(record.key?.readableBytes ?? -1)")
        case .valueSize: output.writeString("\(record.value?.readableBytes ?? -1)")
        }
    }

    /// Values as the bytes that they are; one that is null looks like one that is empty.
    private static func write(_ headers: [Header], into output: inout ByteBuffer) {
        for (index, header) in headers.enumerated() {
            if index > 0 { output.writeInteger(UInt8(ascii: ",")) }
            output.writeString(header.name)
            output.writeInteger(UInt8(ascii: "="))
            if let value = header.value { output.writeImmutableBuffer(value) }
        }
    }
}

extension String {
    /// \n, \t, \r and \\ as what they stand for; any other backslash stays.
    var unescaped: String {
        var text = ""
        var rest = self[...]
        while let letter = rest.popFirst() {
            guard letter == "\\", let next = rest.first, let meant = next.escaped else {
                text.append(letter)
                continue
            }
            text.append(meant)
            rest.removeFirst()
        }
        return text
    }
}

extension Character {
    /// What this letter stands for behind a backslash.
    fileprivate var escaped: Character? {
        switch self {
        case "n": "\n"
        case "t": "\t"
        case "r": "\r"
        case "\\": "\\"
        default: nil
        }
    }
}
