// What a request names twice is answered once: else a short request could ask for an answer of any length.

/// The elements in their order, each name once.
package func withoutRepeats<Element>(_ elements: [Element], by name: (Element) -> String) -> [Element] {
    guard elements.count > 1 else { return elements }
    var seen: Set<String> = []
    return elements.filter { seen.insert(name($0)).inserted }
}

package func withoutRepeats(_ names: [String]) -> [String] { withoutRepeats(names) { $0 } }
