// Records of `__consumer_offsets` as other encoders made them, with the fields that were put in.

import Testing

struct ForeignRecord: Sendable, CustomTestStringConvertible {
    let key: String
    /// nil: a tombstone.
    let value: String?
    /// The record as `GroupRecord` describes it.
    let text: String

    init(_ key: String, _ value: String?, _ text: String) { (self.key, self.value, self.text) = (key, value, text) }

    var testDescription: String { text }
}

/// The first value was read from the log of a Kafka 4.1.0 (twmb/franz-go#1105), where the topic's id was not known; its
/// key is ours. Kafka has no jar of the others for clients: Kafka's message generator (of October 2024, run on the 4.4
/// layouts) made Java classes from the schemas, and these wrote them.
let foreignRecords: [ForeignRecord] = [
    ForeignRecord(
        "000100016700017400000002", "0004000000000021d4a8ffffffff010000019964f2d83600",
        """
        OffsetCommit{groupID="g", topic="t", partition=2} {offset=2217128, leaderEpoch=-1, metadata="", \
        commitTimestamp=1758335260726}
        """),
    ForeignRecord(
        "000100016700017400000002",
        """
        0004000000000000002a00000007056e6f74650000018bcfe568000100100102030405060708090a0b0c0d0e0f10
        """,
        """
        OffsetCommit{groupID="g", topic="t", partition=2} {offset=42, leaderEpoch=7, metadata="note", \
        commitTimestamp=1700000000000, topicID=AQIDBAUGBwgJCgsMDQ4PEA}
        """),
    ForeignRecord(
        "0002000167",
        """
        00030008636f6e73756d657200000003000572616e676500036d2d310000018bcfe568000000000100036d2d3100087374617469632d31\
        000163000a2f3132372e302e302e31000493e00000afc800000003010203000000020908
        """,
        """
        GroupMetadata{groupID="g"} {protocolType="consumer", generation=3, protocolName="range", leader="m-1", \
        currentStateTimestamp=1700000000000, members=[{memberID="m-1", groupInstanceID="static-1", clientID="c", \
        clientHost="/127.0.0.1", rebalanceTimeoutMs=300000, sessionTimeoutMs=45000, subscription=<3 bytes>, \
        assignment=<2 bytes>}]}
        """),
    ForeignRecord(
        "0002000167",
        """
        0003000000000000ffffffff0000018bcfe5680000000000
        """,
        """
        GroupMetadata{groupID="g"} {protocolType="", generation=0, protocolName=null, leader=null, \
        currentStateTimestamp=1700000000000, members=[]}
        """),
    ForeignRecord(
        "0002000167",
        nil,
        """
        GroupMetadata{groupID="g"} tombstone
        """),
    ForeignRecord(
        "0003000167",
        """
        000000000005010008fffffffffffffffe
        """,
        """
        ConsumerGroupMetadata{groupID="g"} {epoch=5, metadataHash=-2}
        """),
    ForeignRecord(
        "0003000167",
        """
        00000000000500
        """,
        """
        ConsumerGroupMetadata{groupID="g"} {epoch=5}
        """),
    ForeignRecord(
        "000500016700036d2d31",
        """
        000000027202630b2f3132372e302e302e3102027404612e2a000493e000010012010000afc8020672616e6765040102030000
        """,
        """
        ConsumerGroupMemberMetadata{groupID="g", memberID="m-1"} {instanceID=null, rackID="r", clientID="c", \
        clientHost="/127.0.0.1", subscribedTopicNames=["t"], subscribedTopicRegex="a.*", rebalanceTimeoutMs=300000, \
        serverAssignor=null, classicMemberMetadata={sessionTimeoutMs=45000, supportedProtocols=[{name="range", \
        metadata=<3 bytes>}]}}
        """),
    ForeignRecord(
        "0006000167",
        """
        0000000000040100080000018bcfe56800
        """,
        """
        ConsumerGroupTargetAssignmentMetadata{groupID="g"} {assignmentEpoch=4, assignmentTimestamp=1700000000000}
        """),
    ForeignRecord(
        "000700016700036d2d31",
        """
        0000020102030405060708090a0b0c0d0e0f100300000000000000010000
        """,
        """
        ConsumerGroupTargetAssignmentMember{groupID="g", memberID="m-1"} \
        {topicPartitions=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, partitions=[0, 1]}]}
        """),
    ForeignRecord(
        "000800016700036d2d31",
        """
        0000000000040000000301020102030405060708090a0b0c0d0e0f10030000000000000001010009030000000300000004020102030405\
        060708090a0b0c0d0e0f1002000000020000
        """,
        """
        ConsumerGroupCurrentMemberAssignment{groupID="g", memberID="m-1"} {memberEpoch=4, previousMemberEpoch=3, \
        state=1, assignedPartitions=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, partitions=[0, 1], assignmentEpochs=[3, 4]}], \
        partitionsPendingRevocation=[{topicID=AQIDBAUGBwgJCgsMDQ4PEA, partitions=[2]}]}
        """),
    ForeignRecord(
        "00100001670003612e2a",
        """
        000003036162036163000000000000004d0000018bcfe5680000
        """,
        """
        ConsumerGroupRegularExpression{groupID="g", regularExpression="a.*"} {topics=["ab", "ac"], version=77, \
        timestamp=1700000000000}
        """),
]
