// swift-tools-version: 6.1
// Times the inner operations with ordo-one/benchmark (`make bench-micro`). A package of its own, so that nothing of
// what it brings reaches a build of martlet. `MicroCases` is a target of the parent, which may therefore use `package`
// declarations; here there is only its public list.
import PackageDescription

let package = Package(
    name: "martlet-micro-time",
    dependencies: [
        // A link to the parent, so that its name does not depend on the folder of the checkout.
        .package(name: "martlet", path: "../../Fuzz/martlet"),
        // Its interposers are left out: MicroGuardTests count allocations.
        .package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []),
    ],
    targets: [
        // The plugin takes targets whose folder lies in one that is called Benchmarks.
        .executableTarget(
            name: "MicroTime",
            dependencies: [
                .product(name: "Benchmark", package: "benchmark"), .product(name: "MicroCases", package: "martlet"),
            ],
            path: ".", sources: ["MicroTime.swift"],
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
    ],
    swiftLanguageModes: [.v6]
)
