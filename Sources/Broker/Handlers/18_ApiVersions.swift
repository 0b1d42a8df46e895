// ApiVersions (key 18), versions 0–4: the first thing every client asks.

import Model
import NIOCore
import Wire

extension Shard {
    func apiVersions(_ body: ByteBuffer, _ context: RequestContext) throws(WireError) {
        var response = ApiVersionsResponse()
        guard ApiVersionsRequest.versions.contains(context.header.version) else {
            // KIP-511: version 0 of the answer, error 35, and the one range that helps; the body is not even looked at.
            response.errorCode = .unsupportedVersion
            response.apiKeys = advertised.filter { $0.apiKey == .apiVersions }
            var context = context
            context.header.version = 0
            return respond(response, to: ApiVersionsRequest.self, context)
        }
        let request = try read(ApiVersionsRequest.self, context.header, body)
        if context.header.version >= 3 {
            guard isSoftwareName(request.clientSoftwareName), isSoftwareName(request.clientSoftwareVersion) else {
                response.errorCode = .invalidRequest
                return respond(response, to: ApiVersionsRequest.self, context)
            }
            connections[context.connection]?.software = "\(request.clientSoftwareName) \(request.clientSoftwareVersion)"
        }
        response.apiKeys = advertised
        response.finalizedFeaturesEpoch = view.image.lastOffset
        respond(response, to: ApiVersionsRequest.self, context)
    }

    /// Kafka's `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
    private func isSoftwareName(_ name: String) -> Bool {
        func isLetterOrDigit(_ c: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(c) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(c)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(c)
        }
        guard let first = name.utf8.first, let last = name.utf8.last, isLetterOrDigit(first), isLetterOrDigit(last)
        else { return false }
        return name.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    }
}
