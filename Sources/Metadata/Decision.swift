// What the controller answers to one request: the records to append as one batch, and the response to give once they
// are committed.

import Model
import Wire

package struct Decision<Response: Sendable>: Sendable {
    /// Appended as one batch, at the offset that was asked about; empty when nothing changes.
    package var records: [MetadataRecord]
    /// Not to be sent before the records are committed.
    package var response: Response

    package init(records: [MetadataRecord], response: Response) {
        self.records = records
        self.response = response
    }
}

extension Decision: Equatable where Response: Equatable {}
