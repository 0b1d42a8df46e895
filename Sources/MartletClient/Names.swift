// The words that the library's public face shares with the rest of the house, under names of its own.

import Model
import Records

/// Kafka's error codes, by number and by name.
public typealias KafkaErrorCode = Model.ErrorCode
/// A node's address.
public typealias BrokerAddress = Model.Endpoint
/// The codec of record batches.
public typealias CompressionCodec = Records.Compression
/// A header of a record: a name and a value.
public typealias Header = Records.RecordHeader

/// What this build says it is, to nodes and to people.
package let martletVersion = "0.1.0"
