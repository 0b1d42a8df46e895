// How requests that change the cluster reach its controller.

import Model
import Wire

extension ClusterClient {
    /// To the node that metadata names as controller, which Kafka lets be any node that forwards; to any when unknown.
    func askController<R: WireRequest>(_ request: R, maxVersion: Int16 = .max) async throws -> R.Response {
        if view.controllerID == nil { try await refreshMetadata(of: []) }
        do {
            return try await ask(request, of: view.controllerID, maxVersion: maxVersion)
        } catch let error as ClientError where error.isRetriable {
            try await refreshMetadata(of: [])
            throw error
        }
    }

    func refused(_ what: String, _ code: KafkaErrorCode, _ message: String?) async -> ClientError {
        if code == .notController { _ = try? await refreshMetadata(of: []) }
        return .refused(what: what, code, message: message)
    }
}
