// The house rules, held over every file of Sources/, and each rule shown to find a planted slip.

import Foundation
import Testing

private let root = URL(filePath: #filePath).resolvingSymlinksInPath()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

private func swiftFiles(under folder: String) throws -> [SourceText] {
    let base = root.appending(path: folder).resolvingSymlinksInPath().path
    guard let walker = FileManager.default.enumerator(atPath: base) else { return [] }
    let names = walker.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") && !$0.contains(".build/") }
        .sorted()
    return try names.map { name in
        SourceText(path: "\(folder)/\(name)", text: try String(contentsOfFile: "\(base)/\(name)", encoding: .utf8))
    }
}

private func report(_ violations: [Violation]) -> Comment {
    let shown = violations.prefix(60).map(\.description).joined(separator: "\n")
    return Comment(rawValue: "\(violations.count) found:\n\(shown)")
}

@Suite struct TreeIsTidy {
    @Test(arguments: [
        ("shape", Rules.shape), ("function lengths", Rules.functionLengths), ("imports", Rules.imports),
        ("purity", Rules.purity), ("safety", Rules.unsafety), ("words", Rules.words),
    ])
    func sourcesKeepTheRule(name: String, rule: @Sendable (SourceText) -> [Violation]) throws {
        let files = try swiftFiles(under: "Sources")
        #expect(!files.isEmpty)
        let found = files.flatMap(rule)
        #expect(found.isEmpty, report(found))
    }

    @Test func testsSayWhatTheyAreForAndImportNothingTestable() throws {
        let files = try swiftFiles(under: "Tests")
        let found = files.flatMap { file in
            Rules.shape(file) + Rules.unsafety(file).filter { $0.text.contains("@testable") }
        }
        #expect(found.isEmpty, report(found))
    }

    @Test func manifestKeepsTheFloors() throws {
        let text = try String(contentsOf: root.appending(path: "Package.swift"), encoding: .utf8)
        let found = Rules.manifest(text)
        #expect(declaredTargets(inManifest: text).contains { $0.name == "Model" })
        #expect(found.isEmpty, report(found))
    }
}

@Suite struct RulesFindPlantedSlips {
    private func source(_ text: String, path: String = "Sources/Raft/Planted.swift") -> SourceText {
        SourceText(path: path, text: text)
    }

    private func lines(_ violations: [Violation]) -> [Int] { violations.map(\.line) }

    @Test func longFile() {
        let text = "// What it is for.\n" + String(repeating: "let x = 1\n", count: 600)
        #expect(Rules.shape(source(text)).count == 1)
        #expect(Rules.shape(source(String(text.dropLast(10)))).isEmpty)
    }

    @Test func longLine() {
        #expect(lines(Rules.shape(source("// a\n" + String(repeating: "x", count: 121)))) == [2])
        #expect(Rules.shape(source("// a\n" + String(repeating: "é", count: 120))).isEmpty)
    }

    @Test func firstLineIsNoComment() { #expect(lines(Rules.shape(source("import Model\n"))) == [1]) }

    @Test func longFunction() {
        func planted(_ count: Int, before: String = "") -> SourceText {
            source(
                "// a\n\(before)    func f(\n        x: Int\n    ) {\n"
                    + String(repeating: "        g()\n", count: count) + "    }\n")
        }
        #expect(lines(Rules.functionLengths(planted(67))) == [2])
        #expect(Rules.functionLengths(planted(66)).isEmpty)
        #expect(Rules.functionLengths(planted(200, before: "    // Long: a table of cases.\n    /// Doc.\n")).isEmpty)
    }

    @Test func requirementsHaveNoLength() {
        let text =
            "// a\nprotocol P {\n    func f() -> Int\n}\nstruct S {\n" + String(repeating: "    var a = 1\n", count: 90)
            + "}\n"
        #expect(Rules.functionLengths(source(text)).isEmpty)
    }

    @Test func longInitialiser() {
        let body = String(repeating: "        g()\n", count: 80)
        #expect(lines(Rules.functionLengths(source("// a\nstruct S {\n    init(x: Int) {\n\(body)    }\n}\n"))) == [3])
    }

    @Test(arguments: ["Broker", "Storage", "NIOCore", "Foundation", "Raft"])
    func importOfAHigherFloorOrAStranger(module: String) {
        #expect(lines(Rules.imports(source("// a\nimport \(module)\n"))) == [2])
    }

    @Test func importsThatAreAllowed() {
        #expect(Rules.imports(source("// import Broker\nimport Model\nimport struct Model.Limits\n")).isEmpty)
        #expect(Rules.imports(source("// a\nimport NIOPosix\n", path: "Sources/MartletClient/A.swift")).isEmpty)
    }

    @Test func targetWithoutARow() {
        #expect(Rules.imports(source("// a\n", path: "Sources/Attic/A.swift")).count == 1)
    }

    @Test func manifestThatBreaksAFloor() {
        let text = """
            .target(name: "Model", dependencies: ["Wire"]), .target(name: "Wire", dependencies: ["Model"]),
            .target(name: "Attic"),
            """
        #expect(Rules.manifest(text).count == 2)
    }

    @Test(arguments: [
        "let t = Task { }", "func f() async {}", "let d = Date()", "let c = ContinuousClock()", "import Foundation",
        "let l = Logger(label: name)", "x.shuffled()", "Int.random(in: 0..<9)", "a.randomElement()", "print(x)",
    ])
    func impurity(line: String) {
        #expect(!Rules.purity(source("// a\n\(line)\n")).isEmpty)
        #expect(Rules.purity(source("// \(line)\nlet text = \"\(line.replacing("\"", with: ""))\"\n")).isEmpty)
        #expect(Rules.purity(source("// a\n\(line)\n", path: "Sources/Server/A.swift")).isEmpty)
    }

    @Test(arguments: [
        "case async", "mode == .async", "UUID128.random(using: &seed)", "Int.random(in: 0..<9, using: &g)",
    ])
    func pureTwins(line: String) { #expect(Rules.purity(source("// a\n\(line)\n")).isEmpty) }

    @Test(arguments: [
        "let a = b!", "f()!.g", "a[0]!", "try! f()", "x as! Y", "// TODO later", "/* FIXME */", "public struct A {}",
        "final class A: @unchecked Sendable {}", "@testable import Raft", "if a! == b {}",
    ])
    func unsafety(line: String) { #expect(!Rules.unsafety(source("// a\n\n\(line)\n")).isEmpty) }

    @Test func onlyTheFaceOfTheClientAndTheModelArePublic() {
        let text = "// a\n\npublic struct A {}\n"
        #expect(Rules.unsafety(source(text, path: "Sources/MartletClient/A.swift")).isEmpty)
        #expect(Rules.unsafety(source(text, path: "Sources/Model/Limits.swift")).isEmpty)
        #expect(!Rules.unsafety(source(text, path: "Sources/Records/Batch.swift")).isEmpty)
    }

    @Test(arguments: [
        "if a != b, !c {}", "let s = \"stop!\"", "let s = \"\\(a)!\"", "// stop!", "a!=b",
        "final class A: @unchecked Sendable {}  // Proof: immutable.",
    ])
    func safeTwins(line: String) { #expect(Rules.unsafety(source("// a\n\(line)\n")).isEmpty) }

    @Test(arguments: [
        "struct TopicManager {}", "enum LogUtils {}", "protocol HelperOfAll {}", "class TopicInfo {}",
        "actor NodeData {}",
    ])
    func emptyWords(line: String) { #expect(lines(Rules.words(source("// a\n\(line)\n"))) == [2]) }

    @Test func wordsThatSaySomething() {
        #expect(Rules.words(source("// a\nstruct Metadata {}\nstruct DataDirectory {}\nstruct Database {}\n")).isEmpty)
        #expect(Rules.words(source("// a\n", path: "Sources/Raft/RaftUtil.swift")).count == 1)
    }

    @Test func stringsAndCommentsAreBlanked() {
        let text = SourceText(
            path: "a",
            text:
                "let a = #\"x \"y\" z\"# + \"\"\"\n  Task\n  \"\"\" // Task\n"
                + "/* Task /* */ Task */ b \"\\(c(\"d\"))e\"\n"
        )
        #expect(!text.code.joined().contains("Task"))
        #expect(text.code[3].contains("b") && text.code[3].contains("c(") && !text.code[3].contains("e"))
        #expect(text.code.count == text.lines.count)
    }
}
