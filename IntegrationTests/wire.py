# A small Kafka client of our own: frames by struct, so that tests can ask and say what no client would.

import itertools
import socket
import struct
from dataclasses import dataclass

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS = 0, 1, 2, 3, 18
CREATE_TOPICS, DESCRIBE_QUORUM, ALTER_PARTITION = 19, 55, 56

# The first version of each API with compact fields and tags.
FLEXIBLE_FROM = {PRODUCE: 9, FETCH: 12, LIST_OFFSETS: 6, METADATA: 9, API_VERSIONS: 3, CREATE_TOPICS: 5,
                 DESCRIBE_QUORUM: 0, ALTER_PARTITION: 0}


def int8(n): return struct.pack(">b", n)
def int16(n): return struct.pack(">h", n)
def int32(n): return struct.pack(">i", n)
def int64(n): return struct.pack(">q", n)


def string(text):
    return int16(-1) if text is None else int16(len(text.encode())) + text.encode()


def data(content):
    return int32(-1) if content is None else int32(len(content)) + content


def array(items):
    return int32(len(items)) + b"".join(items)


def uvarint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def varint(n):
    return uvarint((n << 1) ^ (n >> 63))


def compact_string(text):
    return uvarint(0) if text is None else uvarint(len(text.encode()) + 1) + text.encode()


def compact_array(items):
    return uvarint(len(items) + 1) + b"".join(items)


NO_TAGS = b"\0"


def tagged(*fields):
    """A tag buffer of (tag, content)."""
    return uvarint(len(fields)) + b"".join(uvarint(tag) + uvarint(len(body)) + body for tag, body in fields)


class Reader:
    """Takes an answer apart. `flexible` decides how strings and arrays are written."""

    def __init__(self, content, flexible):
        self.content, self.at, self.flexible = content, 0, flexible

    def raw(self, count):
        if count < 0 or self.at + count > len(self.content):
            raise ValueError(f"the answer ends {self.at + count - len(self.content)} bytes too early")
        self.at += count
        return self.content[self.at - count:self.at]

    def int8(self): return struct.unpack(">b", self.raw(1))[0]
    def int16(self): return struct.unpack(">h", self.raw(2))[0]
    def int32(self): return struct.unpack(">i", self.raw(4))[0]
    def int64(self): return struct.unpack(">q", self.raw(8))[0]
    def uuid(self): return self.raw(16).hex()

    def uvarint(self):
        result = shift = 0
        while True:
            byte = self.raw(1)[0]
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    def length(self, width):
        if self.flexible:
            return self.uvarint() - 1
        return self.int16() if width == 2 else self.int32()

    def string(self):
        length = self.length(2)
        return None if length < 0 else self.raw(length).decode()

    def data(self):
        length = self.length(4)
        return None if length < 0 else self.raw(length)

    def array(self, element):
        return [element(self) for _ in range(max(self.length(4), 0))]

    def tags(self):
        if self.flexible:
            for _ in range(self.uvarint()):
                self.uvarint()
                self.raw(self.uvarint())


def frame(api, version, correlation, body, client_id="integration-test"):
    """A whole request with its length."""
    header = int16(api) + int16(version) + int32(correlation) + string(client_id)
    if version >= FLEXIBLE_FROM.get(api, 1 << 15):
        header += NO_TAGS
    return int32(len(header + body)) + header + body


class Connection:
    """One TCP connection, one request at a time."""

    correlations = itertools.count(1)

    def __init__(self, address, timeout=30):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name = "{}:{}".format(*self.socket.getsockname())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, content):
        self.socket.sendall(content)

    def receive(self, count):
        content = bytearray()
        while len(content) < count:
            part = self.socket.recv(min(count - len(content), 1 << 20))
            if not part:
                raise ConnectionError("the node closed the connection")
            content += part
        return bytes(content)

    def answer(self):
        """The next frame, without its length."""
        return self.receive(struct.unpack(">i", self.receive(4))[0])

    def call(self, api, version, body):
        correlation = next(self.correlations)
        self.send(frame(api, version, correlation, body))
        flexible = version >= FLEXIBLE_FROM[api]
        reader = Reader(self.answer(), flexible)
        found = reader.int32()
        assert found == correlation, f"the answer to request {correlation} says {found}"
        if flexible and api != API_VERSIONS:
            reader.tags()
        return reader

    def is_closed_by_node(self):
        """Waits for the end of the connection; answers that come before it are dropped."""
        try:
            while self.socket.recv(1 << 16):
                pass
            return True
        except (ConnectionError, BrokenPipeError):
            return True
        except TimeoutError:
            return False

    def introduce(self, name, version):
        """ApiVersions 3: says which software this is; returns {api: (lowest, highest)}."""
        reader = self.call(API_VERSIONS, 3, compact_string(name) + compact_string(version) + NO_TAGS)
        error = reader.int16()
        assert error == 0, f"ApiVersions: error {error}"

        def one(r):
            row = r.int16(), (r.int16(), r.int16())
            r.tags()
            return row
        return dict(reader.array(one))


@dataclass(frozen=True)
class Partition:
    index: int
    error: int
    leader: int
    epoch: int
    replicas: tuple
    isr: tuple


@dataclass(frozen=True)
class Topic:
    error: int
    name: str
    id: str
    partitions: dict


@dataclass(frozen=True)
class Metadata:
    brokers: dict
    cluster_id: str
    controller: int
    topics: dict


def metadata(connection, topics=None, auto_create=False):
    """Metadata 12. None: all topics."""
    if topics is None:
        wanted = uvarint(0)
    else:
        wanted = compact_array([bytes(16) + compact_string(name) + NO_TAGS for name in topics])
    reader = connection.call(METADATA, 12, wanted + int8(auto_create) + int8(0) + NO_TAGS)

    def broker(r):
        row = r.int32(), (r.string(), r.int32())
        r.string()
        r.tags()
        return row

    def partition(r):
        error, index, leader, epoch = r.int16(), r.int32(), r.int32(), r.int32()
        replicas, isr, _ = (tuple(r.array(Reader.int32)) for _ in range(3))
        r.tags()
        return index, Partition(index, error, leader, epoch, replicas, isr)

    def topic(r):
        error, name, topic_id, _ = r.int16(), r.string(), r.uuid(), r.int8()
        found = Topic(error, name, topic_id, dict(r.array(partition)))
        r.int32()
        r.tags()
        return name, found

    reader.int32()
    brokers, cluster_id, controller = dict(reader.array(broker)), reader.string(), reader.int32()
    return Metadata(brokers, cluster_id, controller, dict(reader.array(topic)))


@dataclass(frozen=True)
class QuorumReplica:
    id: int
    directory: str
    end: int


@dataclass(frozen=True)
class Quorum:
    leader: int
    epoch: int
    high_watermark: int
    voters: tuple
    observers: tuple


def quorum(connection):
    """DescribeQuorum 2 of the metadata partition; an error raises."""
    topic = compact_string("__cluster_metadata") + compact_array([int32(0) + NO_TAGS]) + NO_TAGS
    reader = connection.call(DESCRIBE_QUORUM, 2, compact_array([topic]) + NO_TAGS)

    def replica(r):
        row = QuorumReplica(r.int32(), r.uuid(), r.int64())
        r.raw(16)
        r.tags()
        return row

    def partition(r):
        r.int32()
        error, message = r.int16(), r.string()
        if error:
            raise ValueError(f"DescribeQuorum: error {error} {message}")
        return Quorum(r.int32(), r.int32(), r.int64(), tuple(r.array(replica)), tuple(r.array(replica)))

    error, message = reader.int16(), reader.string()
    if error:
        raise ValueError(f"DescribeQuorum: error {error} {message}")
    # Only the first partition of the first topic was asked for, and only it is read.
    assert reader.length(4) == 1
    reader.string()
    assert reader.length(4) == 1
    return partition(reader)


def create_topic(connection, name, assignments=None, partitions=-1, configs=(), timeout_ms=30_000):
    """CreateTopics 4; returns (error, message). `assignments` are the replicas of each partition, the leader first."""
    rows = [int32(index) + array([int32(node) for node in nodes]) for index, nodes in enumerate(assignments or [])]
    settings = [string(key) + string(value) for key, value in configs]
    topic = string(name) + int32(-1 if rows else partitions) + int16(-1) + array(rows) + array(settings)
    reader = connection.call(CREATE_TOPICS, 4, array([topic]) + int32(timeout_ms) + int8(0))
    reader.int32()
    return reader.array(lambda r: (r.string(), r.int16(), r.string()))[0][1:]


def produce(connection, topic, partition, records, acks=-1, timeout_ms=30_000):
    """Produce 3; returns (error, base offset)."""
    rows = string(topic) + array([int32(partition) + data(records)])
    reader = connection.call(PRODUCE, 3, string(None) + int16(acks) + int32(timeout_ms) + array([rows]))
    topics = reader.array(lambda r: (r.string(), r.array(lambda p: (p.int32(), p.int16(), p.int64(), p.int64()))))
    return topics[0][1][0][1:3]


@dataclass(frozen=True)
class Fetched:
    error: int
    high_watermark: int
    records: bytes


def fetch(connection, topic, partition, offset, replica=-1, max_wait_ms=0, max_bytes=10 << 20):
    """Fetch 4 of one partition."""
    row = string(topic) + array([int32(partition) + int64(offset) + int32(max_bytes)])
    body = int32(replica) + int32(max_wait_ms) + int32(1) + int32(max_bytes) + int8(0) + array([row])
    reader = connection.call(FETCH, 4, body)
    reader.int32()

    def one(r):
        r.int32()
        error, high_watermark, _ = r.int16(), r.int64(), r.int64()
        r.array(lambda a: a.raw(16))
        return Fetched(error, high_watermark, r.data() or b"")
    return reader.array(lambda r: (r.string(), r.array(one)))[0][1][0]


def list_offset(connection, topic, partition, timestamp=-1):
    """ListOffsets 1; returns (error, offset). Timestamps -1 and -2 mean the end and the beginning."""
    row = string(topic) + array([int32(partition) + int64(timestamp)])
    reader = connection.call(LIST_OFFSETS, 1, int32(-1) + array([row]))
    rows = reader.array(lambda r: (r.string(), r.array(lambda p: (p.int32(), p.int16(), p.int64(), p.int64()))))
    _, error, _, offset = rows[0][1][0]
    return error, offset
