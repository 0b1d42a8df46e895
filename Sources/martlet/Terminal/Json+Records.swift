// Keys, values and headers of records in JSON, the same wherever a command shows a record.

import NIOCore
import Records

extension [String: Json] {
    /// Text as it is; bytes that are no text under another name, in Base64.
    mutating func put(_ name: String, _ bytes: ByteBuffer?) {
        guard let bytes else { return self[name] = .null }
        if let text = String(validating: bytes.readableBytesView, as: UTF8.self) {
            self[name] = text.json
        } else {
            self[name + "Base64"] = base64(bytes).json
        }
    }

    mutating func put(_ headers: [RecordHeader]) {
        self["headers"] = .array(
            headers.map { header in
                var pair: [String: Json] = ["name": header.name.json]
                pair.put("value", header.value)
                return .object(pair)
            })
    }
}

func base64(_ bytes: ByteBuffer) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    let bytes = Array(bytes.readableBytesView)
    var text = ""
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = bytes[start..<min(start + 3, bytes.count)]
        let word = group.enumerated().reduce(0) { $0 | Int($1.element) << (16 - 8 * $1.offset) }
        for place in 0..<4 {
            text.append(place <= group.count ? digits[word >> (18 - 6 * place) & 63] : "=")
        }
    }
    return text
}
