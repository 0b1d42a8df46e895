// Bytes that other encoders made, with the fields that were put in. kafka-clients 4.3.0 (Java): what the generated
// classes wrote, and `ConsumerProtocol` for what consumers say to each other. kafka-python 3.0.12: its classes made
// from Kafka's schemas. aiokafka 0.14.0: layouts written down by hand there.

import NIOCore
import Testing

struct ForeignBytes: Sendable, CustomTestStringConvertible {
    enum Source { case java, kafkaPython, aiokafka }

    let source: Source
    let type: String
    let version: Int16
    let hex: String
    /// The message as `WirePrinter` shows it.
    let text: String

    init(_ source: Source, _ type: String, _ version: Int16, _ hex: String, _ text: String) {
        (self.source, self.type, self.version, self.hex, self.text) = (source, type, version, hex, text)
    }

    var bytes: ByteBuffer { hexBytes(hex) }
    var testDescription: String { "\(type) v\(version) of \(source)" }
}

/// Two digits a byte.
func hexBytes(_ hex: String) -> ByteBuffer {
    var digits = Array(hex)[...]
    var buffer = ByteBuffer()
    while let byte = UInt8(String(digits.prefix(2)), radix: 16) {
        buffer.writeInteger(byte)
        digits = digits.dropFirst(2)
    }
    precondition(digits.isEmpty && hex.count.isMultiple(of: 2), "not hex: \(hex)")
    return buffer
}

let foreignMessages: [ForeignBytes] = [
    ForeignBytes(
        .java, "JoinGroupRequest", 1,
        """
        0001670000afc8000493e000036d2d310008636f6e73756d657200000002000572616e6765000000030102030012636f6f706572617469\
        76652d737469636b79000000020908
        """,
        """
        {groupID="g", sessionTimeoutMs=45000, rebalanceTimeoutMs=300000, memberID="m-1", protocolType="consumer", \
        protocols=[{name="range", metadata=<3 bytes>}, {name="cooperative-sticky", metadata=<2 bytes>}]}
        """),
    ForeignBytes(
        .java, "JoinGroupRequest", 9,
        """
        02670000afc8000493e0046d2d31097374617469632d3109636f6e73756d6572020672616e6765040102030011726562616c616e636520\
        6661696c656400
        """,
        """
        {groupID="g", sessionTimeoutMs=45000, rebalanceTimeoutMs=300000, memberID="m-1", groupInstanceID="static-1", \
        protocolType="consumer", protocols=[{name="range", metadata=<3 bytes>}], reason="rebalance failed"}
        """),
    ForeignBytes(
        .java, "JoinGroupResponse", 4,
        """
        00000000004fffffffff0000000000036d2d3200000000
        """,
        """
        {throttleTimeMs=0, errorCode=MEMBER_ID_REQUIRED, generationID=-1, protocolName="", leader="", memberID="m-2", \
        members=[]}
        """),
    ForeignBytes(
        .java, "JoinGroupResponse", 9,
        """
        0000000500000000000309636f6e73756d65720672616e6765046d2d3101046d2d3103046d2d31097374617469632d310401020300046d\
        2d32000309080000
        """,
        """
        {throttleTimeMs=5, errorCode=NONE, generationID=3, protocolType="consumer", protocolName="range", \
        leader="m-1", skipAssignment=true, memberID="m-1", members=[{memberID="m-1", groupInstanceID="static-1", \
        metadata=<3 bytes>}, {memberID="m-2", groupInstanceID=null, metadata=<2 bytes>}]}
        """),
    ForeignBytes(
        .java, "SyncGroupRequest", 0,
        """
        0001670000000300036d2d310000000100036d2d32000000020908
        """,
        """
        {groupID="g", generationID=3, memberID="m-1", assignments=[{memberID="m-2", assignment=<2 bytes>}]}
        """),
    ForeignBytes(
        .java, "SyncGroupRequest", 5,
        """
        026700000003046d2d31097374617469632d3109636f6e73756d65720672616e676502046d2d320309080000
        """,
        """
        {groupID="g", generationID=3, memberID="m-1", groupInstanceID="static-1", protocolType="consumer", \
        protocolName="range", assignments=[{memberID="m-2", assignment=<2 bytes>}]}
        """),
    ForeignBytes(
        .java, "SyncGroupResponse", 5,
        """
        00000000000009636f6e73756d65720672616e676503090800
        """,
        """
        {throttleTimeMs=0, errorCode=NONE, protocolType="consumer", protocolName="range", assignment=<2 bytes>}
        """),
    ForeignBytes(
        .java, "HeartbeatRequest", 4,
        """
        026700000003046d2d31097374617469632d3100
        """,
        """
        {groupID="g", generationID=3, memberID="m-1", groupInstanceID="static-1"}
        """),
    ForeignBytes(
        .java, "LeaveGroupRequest", 2,
        """
        00016700036d2d31
        """,
        """
        {groupID="g", memberID="m-1"}
        """),
    ForeignBytes(
        .java, "LeaveGroupRequest", 5,
        """
        026703046d2d310007636c6f7365640001097374617469632d31000000
        """,
        """
        {groupID="g", members=[{memberID="m-1", groupInstanceID=null, reason="closed"}, {memberID="", \
        groupInstanceID="static-1", reason=null}]}
        """),
    ForeignBytes(
        .java, "LeaveGroupResponse", 5,
        """
        00000000000002046d2d310100190000
        """,
        """
        {throttleTimeMs=0, errorCode=NONE, members=[{memberID="m-1", groupInstanceID="", \
        errorCode=UNKNOWN_MEMBER_ID}]}
        """),
    ForeignBytes(
        .java, "OffsetCommitRequest", 2,
        """
        000167ffffffff00000000000005265c000000000100017400000001000000020000011f71fb04cb00046e6f7465
        """,
        """
        {groupID="g", generationIDOrMemberEpoch=-1, memberID="", retentionTimeMs=86400000, topics=[{name="t", \
        partitions=[{partitionIndex=2, committedOffset=1234567890123, committedMetadata="note"}]}]}
        """),
    ForeignBytes(
        .java, "OffsetCommitRequest", 9,
        """
        026700000003046d2d31097374617469632d3102027402000000020000011f71fb04cb0000000700000000
        """,
        """
        {groupID="g", generationIDOrMemberEpoch=3, memberID="m-1", groupInstanceID="static-1", topics=[{name="t", \
        partitions=[{partitionIndex=2, committedOffset=1234567890123, committedLeaderEpoch=7, \
        committedMetadata=null}]}]}
        """),
    ForeignBytes(
        .java, "OffsetCommitRequest", 10,
        """
        026700000003046d2d3100020102030405060708090a0b0c0d0e0f1002000000020000011f71fb04cb00000007056e6f7465000000
        """,
        """
        {groupID="g", generationIDOrMemberEpoch=3, memberID="m-1", groupInstanceID=null, \
        topics=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, partitions=[{partitionIndex=2, committedOffset=1234567890123, \
        committedLeaderEpoch=7, committedMetadata="note"}]}]}
        """),
    ForeignBytes(
        .java, "OffsetCommitResponse", 10,
        """
        00000000020102030405060708090a0b0c0d0e0f100200000002000c000000
        """,
        """
        {throttleTimeMs=0, topics=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, partitions=[{partitionIndex=2, \
        errorCode=OFFSET_METADATA_TOO_LARGE}]}]}
        """),
    ForeignBytes(
        .java, "OffsetFetchRequest", 1,
        """
        00016700000001000174000000020000000000000005
        """,
        """
        {groupID="g", topics=[{name="t", partitionIndexes=[0, 5]}]}
        """),
    ForeignBytes(
        .java, "OffsetFetchRequest", 7,
        """
        0267000100
        """,
        """
        {groupID="g", topics=null, requireStable=true}
        """),
    ForeignBytes(
        .java, "OffsetFetchRequest", 8,
        """
        03026700000268020274020000000100000100
        """,
        """
        {groups=[{groupID="g", topics=null}, {groupID="h", topics=[{name="t", partitionIndexes=[1]}]}], \
        requireStable=true}
        """),
    ForeignBytes(
        .java, "OffsetFetchRequest", 10,
        """
        020267046d2d3100000009020102030405060708090a0b0c0d0e0f10020000000100000000
        """,
        """
        {groups=[{groupID="g", memberID="m-1", memberEpoch=9, topics=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, \
        partitionIndexes=[1]}]}], requireStable=false}
        """),
    ForeignBytes(
        .java, "OffsetFetchResponse", 5,
        """
        00000000000000010001740000000100000002ffffffffffffffffffffffff000000000000
        """,
        """
        {throttleTimeMs=0, topics=[{name="t", partitions=[{partitionIndex=2, committedOffset=-1, \
        committedLeaderEpoch=-1, metadata="", errorCode=NONE}]}], errorCode=NONE}
        """),
    ForeignBytes(
        .java, "OffsetFetchResponse", 10,
        """
        00000000020267020102030405060708090a0b0c0d0e0f100200000002000000000000002a00000007056e6f74650058000000000000
        """,
        """
        {throttleTimeMs=0, groups=[{groupID="g", topics=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, \
        partitions=[{partitionIndex=2, committedOffset=42, committedLeaderEpoch=7, metadata="note", \
        errorCode=UNSTABLE_OFFSET_COMMIT}]}], errorCode=NONE}]}
        """),
    ForeignBytes(
        .java, "DescribeGroupsResponse", 6,
        """
        000000000300451347726f75702067206e6f7420666f756e642e026705446561640101018000000000000000026807537461626c650963\
        6f6e73756d65720672616e676502046d2d31097374617469632d3102630b2f3132372e302e302e310401020303090800800000000000
        """,
        """
        {throttleTimeMs=0, groups=[{errorCode=GROUP_ID_NOT_FOUND, errorMessage="Group g not found.", groupID="g", \
        groupState="Dead", protocolType="", protocolData="", members=[], authorizedOperations=-2147483648}, \
        {errorCode=NONE, errorMessage=null, groupID="h", groupState="Stable", protocolType="consumer", \
        protocolData="range", members=[{memberID="m-1", groupInstanceID="static-1", clientID="c", \
        clientHost="/127.0.0.1", memberMetadata=<3 bytes>, memberAssignment=<2 bytes>}], \
        authorizedOperations=-2147483648}]}
        """),
    ForeignBytes(
        .java, "ListGroupsRequest", 5,
        """
        0207537461626c650208636c617373696300
        """,
        """
        {statesFilter=["Stable"], typesFilter=["classic"]}
        """),
    ForeignBytes(
        .java, "ListGroupsResponse", 5,
        """
        00000000000002026709636f6e73756d657207537461626c6508636c61737369630000
        """,
        """
        {throttleTimeMs=0, errorCode=NONE, groups=[{groupID="g", protocolType="consumer", groupState="Stable", \
        groupType="classic"}]}
        """),
    ForeignBytes(
        .java, "DeleteGroupsResponse", 2,
        """
        0000000002026700440000
        """,
        """
        {throttleTimeMs=0, results=[{groupID="g", errorCode=NON_EMPTY_GROUP}]}
        """),
    ForeignBytes(
        .java, "OffsetDeleteRequest", 0,
        """
        000167000000010001740000000100000002
        """,
        """
        {groupID="g", topics=[{name="t", partitions=[{partitionIndex=2}]}]}
        """),
    ForeignBytes(
        .java, "ConsumerGroupHeartbeatRequest", 1,
        """
        0267046d2d3100000000097374617469632d310272000493e0030274027504612e2a08756e69666f726d0100
        """,
        """
        {groupID="g", memberID="m-1", memberEpoch=0, instanceID="static-1", rackID="r", rebalanceTimeoutMs=300000, \
        subscribedTopicNames=["t", "u"], subscribedTopicRegex="a.*", serverAssignor="uniform", topicPartitions=[]}
        """),
    ForeignBytes(
        .java, "ConsumerGroupHeartbeatRequest", 0,
        """
        0267046d2d31000000040000ffffffff00000000
        """,
        """
        {groupID="g", memberID="m-1", memberEpoch=4, instanceID=null, rackID=null, rebalanceTimeoutMs=-1, \
        subscribedTopicNames=null, serverAssignor=null, topicPartitions=null}
        """),
    ForeignBytes(
        .java, "ConsumerGroupHeartbeatResponse", 1,
        """
        00000000000000046d2d31000000040000138801020102030405060708090a0b0c0d0e0f10030000000000000001000000
        """,
        """
        {throttleTimeMs=0, errorCode=NONE, errorMessage=null, memberID="m-1", memberEpoch=4, \
        heartbeatIntervalMs=5000, assignment={topicPartitions=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, partitions=[0, 1]}]}}
        """),
    ForeignBytes(
        .java, "ConsumerGroupHeartbeatResponse", 0,
        """
        00000000006e0766656e636564000000000000000000ff00
        """,
        """
        {throttleTimeMs=0, errorCode=FENCED_MEMBER_EPOCH, errorMessage="fenced", memberID=null, memberEpoch=0, \
        heartbeatIntervalMs=0, assignment=null}
        """),
    ForeignBytes(
        .java, "ConsumerGroupDescribeResponse", 1,
        """
        0000000002000000026707537461626c65000000050000000408756e69666f726d02046d2d3100000000000402630b2f3132372e302e30\
        2e3102027400020102030405060708090a0b0c0d0e0f1002740200000003000001000100800000000000
        """,
        """
        {throttleTimeMs=0, groups=[{errorCode=NONE, errorMessage=null, groupID="g", groupState="Stable", \
        groupEpoch=5, assignmentEpoch=4, assignorName="uniform", members=[{memberID="m-1", instanceID=null, \
        rackID=null, memberEpoch=4, clientID="c", clientHost="/127.0.0.1", subscribedTopicNames=["t"], \
        subscribedTopicRegex=null, assignment={topicPartitions=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, topicName="t", \
        partitions=[3]}]}, targetAssignment={topicPartitions=[]}, memberType=1}], authorizedOperations=-2147483648}]}
        """),
    ForeignBytes(
        .kafkaPython, "JoinGroupRequest", 7,
        """
        02670000afc8000493e0010009636f6e73756d6572020672616e6765040102030000
        """,
        """
        {groupID="g", sessionTimeoutMs=45000, rebalanceTimeoutMs=300000, memberID="", groupInstanceID=null, \
        protocolType="consumer", protocols=[{name="range", metadata=<3 bytes>}]}
        """),
    ForeignBytes(
        .kafkaPython, "SyncGroupRequest", 4,
        """
        026700000003046d2d310002046d2d310309080000
        """,
        """
        {groupID="g", generationID=3, memberID="m-1", groupInstanceID=null, assignments=[{memberID="m-1", \
        assignment=<2 bytes>}]}
        """),
    ForeignBytes(
        .kafkaPython, "OffsetCommitRequest", 8,
        """
        026700000003046d2d31000202740200000002000000000000002affffffff01000000
        """,
        """
        {groupID="g", generationIDOrMemberEpoch=3, memberID="m-1", groupInstanceID=null, topics=[{name="t", \
        partitions=[{partitionIndex=2, committedOffset=42, committedLeaderEpoch=-1, committedMetadata=""}]}]}
        """),
    ForeignBytes(
        .kafkaPython, "OffsetFetchRequest", 7,
        """
        0267020274030000000000000005000000
        """,
        """
        {groupID="g", topics=[{name="t", partitionIndexes=[0, 5]}], requireStable=false}
        """),
    ForeignBytes(
        .aiokafka, "JoinGroupRequest", 5,
        """
        0001670000afc8000493e000036d2d3100087374617469632d310008636f6e73756d657200000001000a726f756e64726f62696e000000\
        03010203
        """,
        """
        {groupID="g", sessionTimeoutMs=45000, rebalanceTimeoutMs=300000, memberID="m-1", groupInstanceID="static-1", \
        protocolType="consumer", protocols=[{name="roundrobin", metadata=<3 bytes>}]}
        """),
    ForeignBytes(
        .aiokafka, "SyncGroupRequest", 3,
        """
        0001670000000300036d2d3100087374617469632d310000000100036d2d31000000020908
        """,
        """
        {groupID="g", generationID=3, memberID="m-1", groupInstanceID="static-1", assignments=[{memberID="m-1", \
        assignment=<2 bytes>}]}
        """),
    ForeignBytes(
        .aiokafka, "OffsetCommitRequest", 3,
        """
        0001670000000300036d2d31ffffffffffffffff000000010001740000000100000002000000000000002a00046e6f7465
        """,
        """
        {groupID="g", generationIDOrMemberEpoch=3, memberID="m-1", retentionTimeMs=-1, topics=[{name="t", \
        partitions=[{partitionIndex=2, committedOffset=42, committedMetadata="note"}]}]}
        """),
    ForeignBytes(
        .aiokafka, "OffsetFetchRequest", 3,
        """
        000167ffffffff
        """,
        """
        {groupID="g", topics=null}
        """),
]

/// With the version in front; a subscription of an older version is shown with the fields of version 3.
let foreignBlobs: [ForeignBytes] = [
    ForeignBytes(
        .java, "ConsumerProtocolSubscription", 0,
        """
        00000000000200017400017500000003010203
        """,
        """
        {topics=["t", "u"], userData=<3 bytes>, ownedPartitions=[], generationID=-1, rackID=null}
        """),
    ForeignBytes(
        .java, "ConsumerProtocolSubscription", 1,
        """
        00010000000200017400017500000003010203000000020001740000000200000000000000010001750000000100000002
        """,
        """
        {topics=["t", "u"], userData=<3 bytes>, ownedPartitions=[{topic="t", partitions=[0, 1]}, {topic="u", \
        partitions=[2]}], generationID=-1, rackID=null}
        """),
    ForeignBytes(
        .java, "ConsumerProtocolSubscription", 2,
        """
        000200000002000174000175000000030102030000000200017400000002000000000000000100017500000001000000020000000c
        """,
        """
        {topics=["t", "u"], userData=<3 bytes>, ownedPartitions=[{topic="t", partitions=[0, 1]}, {topic="u", \
        partitions=[2]}], generationID=12, rackID=null}
        """),
    ForeignBytes(
        .java, "ConsumerProtocolSubscription", 3,
        """
        000300000002000174000175000000030102030000000200017400000002000000000000000100017500000001000000020000000c0006\
        7261636b2d31
        """,
        """
        {topics=["t", "u"], userData=<3 bytes>, ownedPartitions=[{topic="t", partitions=[0, 1]}, {topic="u", \
        partitions=[2]}], generationID=12, rackID="rack-1"}
        """),
    ForeignBytes(
        .java, "ConsumerProtocolSubscription", 3,
        """
        000300000001000174ffffffff00000000ffffffffffff
        """,
        """
        {topics=["t"], userData=null, ownedPartitions=[], generationID=-1, rackID=null}
        """),
    ForeignBytes(
        .java, "ConsumerProtocolAssignment", 3,
        """
        00030000000200017400000001000000010001750000000100000000ffffffff
        """,
        """
        {assignedPartitions=[{topic="t", partitions=[1]}, {topic="u", partitions=[0]}], userData=null}
        """),
    ForeignBytes(
        .kafkaPython, "ConsumerProtocolSubscription", 1,
        """
        0001000000020001740001750000000000000001000174000000020000000000000001
        """,
        """
        {topics=["t", "u"], userData=<0 bytes>, ownedPartitions=[{topic="t", partitions=[0, 1]}], generationID=-1, \
        rackID=null}
        """),
    ForeignBytes(
        .kafkaPython, "ConsumerProtocolSubscription", 3,
        """
        000300000002000174000175000000000000000100017400000002000000000000000100000004ffff
        """,
        """
        {topics=["t", "u"], userData=<0 bytes>, ownedPartitions=[{topic="t", partitions=[0, 1]}], generationID=4, \
        rackID=null}
        """),
    ForeignBytes(
        .aiokafka, "ConsumerProtocolSubscription", 0,
        """
        00000000000100017400000000
        """,
        """
        {topics=["t"], userData=<0 bytes>, ownedPartitions=[], generationID=-1, rackID=null}
        """),
]
