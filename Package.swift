// swift-tools-version: 6.2
import PackageDescription

// Floors (docs/ARCHITECTURE.md): a target may import only targets of a lower floor. TidyTests enforce it.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
]

let byteBuffer: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")

let package = Package(
    name: "martlet",
    products: [
        .library(name: "MartletClient", targets: ["MartletClient"]),
        .executable(name: "martlet", targets: ["martlet"]),
        .executable(name: "martlet-sim", targets: ["martlet-sim"]),
        // For the package in Fuzz/, which links it with libFuzzer.
        .library(name: "FuzzEntries", targets: ["FuzzEntries", "CAllocations"]),
        // For the package in Benchmarks/MicroTime/, which times them.
        .library(name: "MicroCases", targets: ["MicroCases"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", exact: "0.2.0"),
    ],
    targets: [
        // C, each one small thing that Swift cannot say well.
        .target(name: "CChecksum"),
        .target(name: "CPosix"),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CLz4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CZstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CSnappy", providers: [.apt(["libsnappy-dev"])]),

        // Floor 0
        .target(name: "Model", swiftSettings: strict),
        // Floor 1
        .target(
            name: "Records",
            dependencies: ["Model", "CChecksum", "CZlib", "CLz4", "CZstd", "CSnappy", byteBuffer],
            swiftSettings: strict),
        .target(name: "Wire", dependencies: ["Model", byteBuffer], swiftSettings: strict),
        // Floor 2: pure values
        .target(name: "Raft", dependencies: ["Model"], swiftSettings: strict),
        .target(name: "Replication", dependencies: ["Model"], swiftSettings: strict),
        .target(name: "Metadata", dependencies: ["Model", "Wire"], swiftSettings: strict),
        .target(name: "Groups", dependencies: ["Model", "Wire", byteBuffer], swiftSettings: strict),
        // Floor 3
        .target(name: "Storage", dependencies: ["Model", "Records", byteBuffer], swiftSettings: strict),
        .target(name: "DiskSimulation", dependencies: ["Storage", "Model", byteBuffer], swiftSettings: strict),
        // Floor 4
        .target(
            name: "Broker",
            dependencies: [
                "Model", "Records", "Wire", "Raft", "Replication", "Metadata", "Groups", "Storage", byteBuffer,
            ],
            swiftSettings: strict),
        // Floor 5
        .target(
            name: "Server",
            dependencies: [
                "Broker", "Groups", "Metadata", "Storage", "Model", "CPosix", byteBuffer,
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                "Yams",
            ],
            swiftSettings: strict),
        .target(
            name: "MartletClient",
            dependencies: [
                "Model", "Records", "Wire", "CZlib", byteBuffer, .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .target(
            name: "Simulation",
            dependencies: [
                "Broker", "DiskSimulation", "Storage", "Raft", "Replication", "Metadata", "Model", "Records", "Wire",
                byteBuffer,
            ],
            swiftSettings: strict),
        .target(
            name: "SmallScope", dependencies: ["Raft", "Replication", "Metadata", "Wire", "Model"],
            swiftSettings: strict),
        // Floor 6
        .executableTarget(
            name: "martlet",
            dependencies: [
                "Server", "MartletClient", "Storage", "Records", "Wire", "Model", byteBuffer,
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: strict),
        // What a fuzzer feeds with bytes; Fuzz/ links it with libFuzzer, FuzzReplayTests with the corpora.
        .target(
            name: "FuzzEntries",
            dependencies: [
                "Server", "MartletClient", "Broker", "DiskSimulation", "Storage", "Metadata", "Replication", "Wire",
                "Records", "Model", byteBuffer,
            ],
            path: "Fuzz/Entries", swiftSettings: strict),
        // Counts what a call asks of malloc: for those two, and for micro-speed.
        .target(name: "CAllocations", path: "Fuzz/CAllocations"),
        .executableTarget(
            name: "martlet-sim",
            dependencies: [
                "Simulation", "SmallScope", "Model", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        // The inner operations that are measured from outside their modules; MicroGuardTests run micro-speed under
        // callgrind, Benchmarks/MicroTime times them.
        .target(
            name: "MicroCases",
            dependencies: [
                "Broker", "Storage", "Raft", "Replication", "Records", "Wire", "Model", byteBuffer,
            ],
            path: "Benchmarks/MicroCases", swiftSettings: strict),
        .executableTarget(
            name: "micro-speed", dependencies: ["MicroCases", "CAllocations"], path: "Benchmarks/Micro",
            swiftSettings: strict),
        // Drive nodes beside yardsticks in C (docs/PERFORMANCE.md); they know a node as a process only.
        .target(name: "BenchDriver", dependencies: ["CChecksum"], path: "Benchmarks/Driver"),
        .executableTarget(
            name: "ingest-speed", dependencies: ["BenchDriver", "CChecksum"], path: "Benchmarks/IngestSpeed"),
        .executableTarget(name: "latency-speed", dependencies: ["BenchDriver"], path: "Benchmarks/Latency"),
        .executableTarget(name: "read-speed", dependencies: ["BenchDriver"], path: "Benchmarks/ReadSpeed"),

        .testTarget(name: "TidyTests"),
        .testTarget(
            name: "RecordsTests", dependencies: ["Records", "Model", "CChecksum", byteBuffer], swiftSettings: strict),
        .testTarget(
            name: "WireTests", dependencies: ["Wire", "Model", byteBuffer], exclude: ["Golden"], swiftSettings: strict),
        .testTarget(
            name: "FuzzReplayTests", dependencies: ["FuzzEntries", "CAllocations"], swiftSettings: strict),
        .testTarget(name: "MicroGuardTests", exclude: ["thresholds.txt"], swiftSettings: strict),
        .testTarget(name: "RaftTests", dependencies: ["Raft", "Model"], exclude: ["Scripts"], swiftSettings: strict),
        .testTarget(
            name: "ReplicationTests", dependencies: ["Replication", "Model"], exclude: ["Scripts"],
            swiftSettings: strict),
        .testTarget(name: "MetadataTests", dependencies: ["Metadata", "Wire", "Model"], swiftSettings: strict),
        .testTarget(
            name: "GroupsTests", dependencies: ["Groups", "Wire", "Model", byteBuffer], exclude: ["Scripts"],
            swiftSettings: strict),
        .testTarget(
            name: "BrokerTests",
            dependencies: [
                "Broker", "DiskSimulation", "Model", "Records", "Wire", "Raft", "Replication", "Metadata", "Storage",
                byteBuffer,
            ],
            swiftSettings: strict),
        .testTarget(name: "SimulationTests", dependencies: ["Simulation", "Model"], swiftSettings: strict),
        .testTarget(name: "SmallScopeTests", dependencies: ["SmallScope"], swiftSettings: strict),
        .testTarget(
            name: "MartletClientTests",
            dependencies: [
                "MartletClient", "Model", "Records", "Wire", byteBuffer,
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ServerTests",
            dependencies: [
                "Server", "CPosix", "Broker", "Storage", "Model", byteBuffer,
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "StorageTests", dependencies: ["Storage", "DiskSimulation", "Records", "Model", byteBuffer],
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
