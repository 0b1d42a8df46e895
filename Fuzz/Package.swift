// swift-tools-version: 6.2
// The fuzzers (docs/TESTING.md). A package of its own, because libFuzzer brings a `main` and its flags reach every
// module of a build. What they feed are the entries of `FuzzEntries`, a target of the parent, which may therefore use
// `package` declarations.
import PackageDescription

let package = Package(
    name: "martlet-fuzz",
    dependencies: [.package(name: "martlet", path: "martlet")],
    targets: [
        .executableTarget(
            name: "martlet-fuzz", dependencies: [.product(name: "FuzzEntries", package: "martlet")],
            path: "Sources/fuzz")
    ],
    swiftLanguageModes: [.v6]
)
