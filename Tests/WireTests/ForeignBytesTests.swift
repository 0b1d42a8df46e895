// What other encoders wrote is read, says what they put in, and is written the same again.

import NIOCore
import Testing
import Wire

@Suite struct ForeignBytesTests {
    @Test(arguments: foreignMessages) func messagesAreReadAndWrittenTheSame(_ given: ForeignBytes) throws {
        func check<M: WireMessage>(_: M.Type) throws {
            var input = given.bytes
            let message = try wireDecodeWhole(M.self, from: &input, version: given.version)
            #expect(WirePrinter.text(message, version: given.version) == given.text)
            var output = ByteBuffer()
            wireEncode(message, version: given.version, into: &output)
            #expect(output == given.bytes)
        }
        let message = try #require(everyMessage.first { $0.name == given.type })
        try check(message.type)
    }

    @Test(arguments: foreignBlobs) func whatConsumersSayIsReadAndWrittenTheSame(_ given: ForeignBytes) throws {
        if given.type == "ConsumerProtocolSubscription" {
            let subscription = try ConsumerProtocolSubscription.decode(given.bytes)
            #expect(WirePrinter.text(subscription, version: 3) == given.text)
            #expect(subscription.encode(version: given.version) == given.bytes)
        } else {
            let assignment = try ConsumerProtocolAssignment.decode(given.bytes)
            #expect(WirePrinter.text(assignment, version: 3) == given.text)
            #expect(assignment.encode(version: given.version) == given.bytes)
        }
    }
}
