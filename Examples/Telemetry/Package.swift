// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "telemetry",
    dependencies: [
        // In a project of your own: .package(url: "…/martlet", from: "…")
        .package(name: "martlet", path: "../..")
    ],
    targets: [
        .executableTarget(name: "Telemetry", dependencies: [.product(name: "MartletClient", package: "martlet")])
    ],
    swiftLanguageModes: [.v6]
)
