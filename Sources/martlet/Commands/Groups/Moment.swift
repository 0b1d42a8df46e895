// A point in time as people write it.

import ArgumentParser
import Glibc

/// 2026-11-22, 2026-11-22T08:30, 2026-11-22T08:30:15.250Z, or with +01:00 behind it; UTC where no zone is named.
struct Moment: ExpressibleByArgument, Sendable {
    /// Since 1970.
    let ms: Int64

    init?(argument: String) {
        var rest = argument[...]
        guard let year = rest.number(digits: 4), rest.drop("-"), let month = rest.number(digits: 2), rest.drop("-"),
            let day = rest.number(digits: 2), (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (Int32(year - 1900), Int32(month - 1), Int32(day))
        var thousandths: Int64 = 0
        var eastMinutes: Int64 = 0
        if !rest.isEmpty {
            guard rest.drop("T") || rest.drop(" "), let hour = rest.number(digits: 2), rest.drop(":"),
                let minute = rest.number(digits: 2), hour < 24, minute < 60
            else { return nil }
            (parts.tm_hour, parts.tm_min) = (Int32(hour), Int32(minute))
            if rest.drop(":") {
                guard let second = rest.number(digits: 2), second < 61 else { return nil }
                parts.tm_sec = Int32(second)
                if rest.drop(".") {
                    guard let fraction = rest.number(digits: 3) else { return nil }
                    thousandths = Int64(fraction)
                }
            }
            guard let east = rest.zone() else { return nil }
            eastMinutes = east
        }
        let seconds = timegm(&parts)
        // The 31st of February would be some day in March.
        guard rest.isEmpty, parts.tm_mday == Int32(day), parts.tm_mon == Int32(month - 1) else { return nil }
        ms = (Int64(seconds) - eastMinutes * 60) * 1_000 + thousandths
    }
}

extension Substring {
    fileprivate mutating func number(digits: Int) -> Int? {
        let text = prefix(digits)
        guard text.count == digits, text.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
        removeFirst(digits)
        return Int(text)
    }

    fileprivate mutating func drop(_ letter: Character) -> Bool {
        guard first == letter else { return false }
        removeFirst()
        return true
    }

    /// Minutes east of Greenwich.
    fileprivate mutating func zone() -> Int64? {
        if isEmpty || drop("Z") { return 0 }
        let sign: Int64
        if drop("+") { sign = 1 } else if drop("-") { sign = -1 } else { return nil }
        guard let hours = number(digits: 2), drop(":"), let minutes = number(digits: 2), hours < 24,
            minutes < 60
        else { return nil }
        return sign * Int64(hours * 60 + minutes)
    }
}
