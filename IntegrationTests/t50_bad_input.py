# What no honest client sends: each gets Kafka's error or a closed connection, one log line, and the node goes on.

import os
import struct
import time

import pytest
import zstandard

import wire
from batches import batch, one_record
from bombs import bomb
from conditions import wait_until

MIB = 1 << 20
# Memory that a node may gain over one bad input: buffers, pages of its allocator, and the noise of everything else.
SLACK_BYTES = 64 * MIB

CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_TOPIC, INVALID_RECORD = 2, 10, 17, 87
UNKNOWN_TOPIC, UNSUPPORTED_COMPRESSION = 3, 76


@pytest.fixture(scope="module")
def cluster(start_cluster):
    made = start_cluster(count=3, defaults={"frame.stall.ms": 1000}, timing_scale=4)
    made.create_topic("target", [[1, 2, 3]])
    return made


@pytest.fixture
def node(cluster):
    """Node 1, and afterwards: alive, not grown, and a client of before and a new one are served."""
    one = cluster[1]
    serves(one)
    with one.connect() as witness:
        wire.metadata(witness, [])
        before = one.resident_bytes()
        yield one
        assert one.is_alive(), one.tail()
        wire.metadata(witness, ["target"])
        serves(one)
        grown = one.resident_bytes() - before
        assert grown < SLACK_BYTES, f"the node grew by {grown / MIB:.0f} MiB"


def serves(node):
    """A whole round: a record is acknowledged by all in sync and can be read."""
    def once():
        with node.connect() as connection:
            error, offset = wire.produce(connection, "target", 0, batch([b"good"]))
            assert error == 0, error
            fetched = wire.fetch(connection, "target", 0, offset)
            assert fetched.error == 0 and b"good" in fetched.records
        return True
    wait_until(f"node {node.id} serves", once)


def lines_about(node, connection, since):
    return [line for line in node.log(since).splitlines() if connection.name in line]


def expect_one_line(node, connection, since, *words):
    """Exactly one line names the client, and each of `words`."""
    wait_until(f"a log line names {connection.name}", lambda: lines_about(node, connection, since), 5)
    lines = lines_about(node, connection, since)
    assert len(lines) == 1, lines
    assert all(word in lines[0] for word in words), lines[0]


@pytest.mark.parametrize("content", [
    pytest.param(b"GET / HTTP/1.1\r\nHost: martlet\r\n\r\n", id="http"),
    pytest.param(bytes(range(255, 0, -1)) * 40, id="descending-bytes"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), id="tls-hello"),
    pytest.param(struct.pack(">i", (1 << 31) - 1) + b"\0\0\0\x03", id="length-of-2-GB"),
    pytest.param(struct.pack(">i", -5) + b"\0\0\0\x03", id="negative-length"),
    pytest.param(struct.pack(">i", 0) + b"\0\0\0\x03", id="empty-frame"),
    pytest.param(struct.pack(">i", 40) + b"\xff" * 40, id="frame-of-ones"),
    pytest.param(struct.pack(">i", 3) + b"\0\x03\0", id="half-a-header"),
    pytest.param(wire.frame(wire.METADATA, 12, 1, b"\xff" * 30), id="metadata-of-ones"),
    pytest.param(wire.frame(wire.METADATA, 1, 1, wire.int32(0x7FFFFFF0)), id="array-of-2-billion"),
    pytest.param(wire.frame(wire.METADATA, 12, 1, b"\xff\xff\xff\xff\x07"), id="compact-array-of-2-billion"),
    pytest.param(wire.frame(999, 0, 1, b""), id="unknown-key"),
    pytest.param(wire.frame(wire.METADATA, 99, 1, b""), id="unknown-version"),
    pytest.param(wire.frame(wire.PRODUCE, 2, 1, wire.int16(1) + wire.int32(1000) + wire.int32(0)), id="produce-2"),
])
def test_garbage_closes_the_connection(node, content):
    since = node.log_size()
    with node.connect() as connection:
        connection.send(content)
        assert connection.is_closed_by_node()
        expect_one_line(node, connection, since)


def test_the_log_line_names_the_software(node):
    since = node.log_size()
    with node.connect() as connection:
        connection.introduce("clumsy-client", "6.6.6")
        connection.send(wire.frame(999, 0, 1, b""))
        assert connection.is_closed_by_node()
        expect_one_line(node, connection, since, "clumsy-client", "6.6.6")


def test_unknown_version_of_api_versions_is_answered_in_version_0(node):
    with node.connect() as connection:
        connection.send(wire.frame(wire.API_VERSIONS, 77, 5, b"\xff" * 9))
        reader = wire.Reader(connection.answer(), False)
        assert (reader.int32(), reader.int16()) == (5, 35)
        rows = reader.array(lambda r: (r.int16(), r.int16(), r.int16()))
        assert rows == [(18, 0, 4)]
        # The connection stays: the client asks again with what it learned.
        assert wire.PRODUCE in connection.introduce("polite", "1.0")


def test_node_routes_are_not_advertised(node):
    with node.connect() as connection:
        found = connection.introduce("curious", "1.0")
    assert {wire.PRODUCE, wire.FETCH, wire.METADATA, wire.CREATE_TOPICS, wire.DESCRIBE_QUORUM} <= set(found)
    assert found[wire.PRODUCE][0] == 0 and found[wire.FETCH][0] == 4
    assert not {52, 53, 54, 56, 58, 59, 62, 63, 67} & set(found)


def test_half_a_request_then_silence_is_closed(node):
    since = node.log_size()
    whole = wire.frame(wire.METADATA, 12, 1, b"\x01\0\0\0")
    with node.connect(60) as connection:
        connection.send(whole[:-3])
        assert connection.is_closed_by_node()
        expect_one_line(node, connection, since)


def test_long_frames_that_never_come_take_no_memory(node):
    """A hundred connections announce 100 MB each and send a little: what is reserved follows what arrived."""
    connections = [node.connect() for _ in range(100)]
    try:
        for connection in connections:
            connection.send(struct.pack(">i", 100 * 1000 * 1000) + b"\0\0\0\x03" + bytes(100_000))
        serves(node)
        assert node.resident_bytes() < 400 * MIB
        for connection in connections:
            assert connection.is_closed_by_node()
    finally:
        for connection in connections:
            connection.socket.close()


def test_requests_byte_by_byte_are_served(node):
    with node.connect() as connection:
        for byte in wire.frame(wire.METADATA, 12, 7, wire.compact_array([]) + b"\0\0\0"):
            connection.send(bytes([byte]))
        assert wire.Reader(connection.answer(), True).int32() == 7


GOOD = [b"a", b"b", b"c"]


@pytest.mark.parametrize("records, errors", [
    pytest.param(batch(GOOD, crc=1), {CORRUPT_MESSAGE}, id="wrong-crc"),
    pytest.param(batch(GOOD, count=2), {INVALID_RECORD, CORRUPT_MESSAGE}, id="count-too-small"),
    pytest.param(batch(GOOD, count=4), {INVALID_RECORD, CORRUPT_MESSAGE}, id="count-too-large"),
    pytest.param(batch(GOOD, count=0x7FFFFFFF), {INVALID_RECORD, CORRUPT_MESSAGE}, id="count-of-2-billion"),
    pytest.param(batch(GOOD, count=-1), {INVALID_RECORD, CORRUPT_MESSAGE}, id="negative-count"),
    pytest.param(batch(GOOD, last_delta=7), {INVALID_RECORD, CORRUPT_MESSAGE}, id="wrong-last-offset-delta"),
    pytest.param(batch(GOOD, length=5000), {CORRUPT_MESSAGE, INVALID_RECORD}, id="length-beyond-the-end"),
    pytest.param(batch(GOOD, length=50), {CORRUPT_MESSAGE, INVALID_RECORD}, id="length-too-short"),
    pytest.param(batch(GOOD, length=-1), {CORRUPT_MESSAGE, INVALID_RECORD}, id="negative-length"),
    pytest.param(batch(GOOD)[:40], {CORRUPT_MESSAGE, INVALID_RECORD}, id="half-a-batch-head"),
    pytest.param(batch(GOOD) + b"\0" * 7, {CORRUPT_MESSAGE, INVALID_RECORD}, id="bytes-after-the-batch"),
    pytest.param(batch(GOOD) + batch(GOOD), {INVALID_RECORD, CORRUPT_MESSAGE}, id="two-batches"),
    pytest.param(batch(GOOD, magic=1), {CORRUPT_MESSAGE, INVALID_RECORD, 43}, id="old-magic"),
    pytest.param(batch(GOOD, payload=b"\xff" * 30), {INVALID_RECORD, CORRUPT_MESSAGE}, id="records-of-ones"),
    pytest.param(batch(GOOD, codec="zstd", payload=b"not zstd"), {CORRUPT_MESSAGE, INVALID_RECORD}, id="not-zstd"),
    pytest.param(batch([]), {INVALID_RECORD, CORRUPT_MESSAGE}, id="no-records"),
    pytest.param(batch([bytes(MIB + 100)]), {MESSAGE_TOO_LARGE}, id="larger-than-max-message-bytes"),
    pytest.param(b"", {INVALID_RECORD, CORRUPT_MESSAGE}, id="nothing"),
])
def test_wrong_batches_are_refused(node, records, errors):
    since = node.log_size()
    with node.connect() as connection:
        _, end = wire.list_offset(connection, "target", 0)
        connection.introduce("wrong-batches", "0.1")
        error, offset = wire.produce(connection, "target", 0, records)
        assert (error in errors, offset) == (True, -1), f"error {error}, offset {offset}"
        assert wire.list_offset(connection, "target", 0) == (0, end)
        expect_one_line(node, connection, since, "wrong-batches")


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_decompression_bombs_are_refused(node, codec):
    since = node.log_size()
    before = node.resident_bytes()
    records = batch([b""], codec=codec, payload=bomb(codec))
    assert len(records) < MIB
    with node.connect() as connection:
        error, _ = wire.produce(connection, "target", 0, records)
        assert error in {CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE, UNSUPPORTED_COMPRESSION}
        expect_one_line(node, connection, since)
    assert node.resident_bytes() - before < SLACK_BYTES


def test_honest_compression_of_the_same_kind_is_taken(node):
    """So that the test above refuses the bomb for its size, and not zstd or its own batch."""
    payload = zstandard.compress(one_record(bytes(500_000)))
    with node.connect() as connection:
        assert wire.produce(connection, "target", 0, batch([b""], codec="zstd", payload=payload))[0] == 0


@pytest.mark.parametrize("name", ["with/slash", "../../evil", "", ".", "..", "a" * 250, "new\nline", "späße"])
def test_wrong_topic_names_are_refused(cluster, node, name):
    since = node.log_size()
    with node.connect() as connection:
        error, _ = wire.create_topic(connection, name, partitions=1)
        assert error == INVALID_TOPIC
        found = wire.metadata(connection, [name], auto_create=True).topics[name]
        assert found.error in {INVALID_TOPIC, UNKNOWN_TOPIC}
        error, _ = wire.produce(connection, name, 0, batch([b"x"]))
        assert error in {INVALID_TOPIC, UNKNOWN_TOPIC}
        assert name not in wire.metadata(connection).topics
        expect_one_line(node, connection, since)
    assert not any("evil" in file for _, folders, files in os.walk(cluster.folder) for file in folders + files)


def test_slow_readers_do_not_fill_memory(node):
    """Answers that nobody reads stop the reading of requests."""
    with node.connect() as connection:
        for _ in range(20):
            error, _ = wire.produce(connection, "target", 0, batch([bytes(900_000)]))
            assert error == 0
    with node.connect(2) as connection:
        row = wire.string("target") + wire.array([wire.int32(0) + wire.int64(0) + wire.int32(50 * MIB)])
        ask = wire.int32(-1) + wire.int32(0) + wire.int32(1) + wire.int32(50 * MIB) + wire.int8(0) + wire.array([row])
        deadline = time.monotonic() + 10
        try:
            for number in range(100_000):
                connection.send(wire.frame(wire.FETCH, 4, number, ask))
                assert time.monotonic() < deadline, "the node takes requests without end from one that reads nothing"
        except TimeoutError:
            pass
        serves(node)
