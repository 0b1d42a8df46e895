// What is wrong with a configuration, and where.

/// One sentence that begins with the file and the line, where there is one.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ file: String, line: Int?, _ sentence: String) {
        description = file + (line.map { ":\($0)" } ?? "") + ": " + sentence
    }
}
