# Every client lists, creates, produces with every codec and acks, and reads what every other wrote, byte for byte.

import contextlib
import time

import pytest

import wire
from batches import CODEC_NUMBERS, heads
from clients import CODECS, Record
from clients.aio import AioClient
from clients.confluent import ConfluentClient
from clients.java import JavaClient
from clients.kafka_python import KafkaPythonClient
from clients.kcat import KcatClient, printed_headers
from conditions import wait_until

NAMES = ["kcat", "confluent", "kafka-python", "aiokafka", "java"]

# One partition for each way to produce: (codec, acks, idempotent). Idempotence needs acks=all.
WAYS = [(codec, acks, False) for codec in CODECS for acks in ("0", "1", "all")]
WAYS += [(codec, "all", True) for codec in CODECS]

START_MS = 1_700_000_000_000
BINARY = bytes(range(256)) * 12

# Long values that repeat, so that no client leaves a batch uncompressed because it would not shrink.
RECORDS = [
    Record(b"one line after the other " * 120, None, (), START_MS),
    Record(
        BINARY, b"\x00binary\xff", (("a", b"1"), ("a", b"2"), ("", b""), ("bytes", BINARY[200:300])), START_MS + 5_000),
    Record(b"", b"", (), START_MS + 1_000),
    Record("grüße".encode(), "schlüssel".encode(), (("Überschrift", "wért".encode()),), START_MS + 1_000),
    Record(None, b"tombstone", (), START_MS + 2_000),
    Record(b"null in a header", None, (("null", None),), START_MS),
]
# What a command line can carry: text as key and headers, and no timestamp of its own.
KCAT_RECORDS = [
    Record(b"one line after the other " * 120, None, ()),
    Record(BINARY, b"key", (("a", b"1"), ("a", b"2"), ("null", None))),
    Record(b"another " * 300, b"key", (("a", b"1"), ("a", b"2"), ("null", None))),
]


@pytest.fixture(scope="module")
def cluster(start_cluster):
    # Timeouts are stretched: with acks 0 and 1 a change of leaders may lose records, and this is not the test for that.
    return start_cluster(count=3, defaults={"num.partitions": len(WAYS)}, timing_scale=10)


@pytest.fixture(scope="module")
def clients(cluster, kcat, java):
    made = [KcatClient(cluster.bootstrap), ConfluentClient(cluster.bootstrap), KafkaPythonClient(cluster.bootstrap),
            AioClient(cluster.bootstrap), JavaClient(cluster.bootstrap, java)]
    assert [client.name for client in made] == NAMES
    yield {client.name: client for client in made}
    for client in made:
        with contextlib.suppress(Exception):
            client.close()


@pytest.fixture(scope="module")
def written(cluster, clients):
    """written(name): (the records of the client, milliseconds before, milliseconds after), produced on first use."""
    done = {}

    def write(name):
        if name not in done:
            # One that failed is not tried again for each of its readers.
            done[name] = None
            done[name] = produce_all_ways(cluster, clients[name], f"matrix-{name}")
        if done[name] is None:
            pytest.fail(f"{name} could not write its records; see the first failure of it")
        return done[name]
    return write


def records_of(name):
    # kafka-python refuses to send a header of null, though it reads one.
    return {"kcat": KCAT_RECORDS, "kafka-python": RECORDS[:-1]}.get(name, RECORDS)


def produce_all_ways(cluster, client, topic):
    records = records_of(client.name)
    if client.name != "kcat":
        client.create_topic(topic, len(WAYS))
    before = int(time.time() * 1000)
    for partition, (codec, acks, idempotent) in enumerate(WAYS):
        offsets = client.produce(topic, partition, records, codec, acks, idempotent)
        way = f"{client.name} {codec} acks={acks} idempotent={idempotent}"
        if acks != "0" and client.name != "kcat":
            assert offsets == list(range(len(records))), way
    wait_for_ends(cluster, topic, len(records))
    return records, before, int(time.time() * 1000)


def wait_for_ends(cluster, topic, end):
    """Records sent with acks=0 arrive some time; the others must be there."""
    def ends():
        found = {}
        for index, partition in cluster.partitions(topic).items():
            with cluster[partition.leader].connect() as connection:
                found[index] = wire.list_offset(connection, topic, index)
        if any(row != (0, end) for row in found.values()):
            raise ValueError(f"(error, end) by partition: {found}")
        return True
    wait_until(f"{end} records in each partition of {topic}", ends)


@pytest.mark.parametrize("name", NAMES)
def test_creates_and_lists_topics(clients, name):
    client = clients[name]
    client.create_topic(f"created-by-{name}", len(WAYS))
    wait_until("the client lists its topic", lambda: f"created-by-{name}" in client.list_topics())


def test_every_client_lists_the_same_topics(clients):
    def is_same():
        lists = {name: client.list_topics() for name, client in clients.items()}
        if any(names != lists["java"] for names in lists.values()):
            raise ValueError(lists)
        return len(lists["java"]) > 0
    wait_until("one answer from all", is_same)


def test_auto_creation_uses_num_partitions(cluster, clients):
    clients["kcat"].produce("auto-created", 3, [Record(b"first")], "none", "all", False)
    assert len(cluster.partitions("auto-created")) == len(WAYS)
    found = clients["confluent"].consume("auto-created", [3], 1)[3]
    assert [(c.offset, c.record.value) for c in found] == [(0, b"first")]


@pytest.mark.parametrize("name", NAMES)
def test_produces_with_every_codec_and_acks(cluster, written, name):
    records, _, _ = written(name)
    topic = f"matrix-{name}"
    for index, partition in cluster.partitions(topic).items():
        codec, acks, idempotent = WAYS[index]
        batches = heads(cluster[partition.leader].partition_bytes(topic, index))
        way = f"{name} {codec} acks={acks} idempotent={idempotent}"
        assert sum(batch.count for batch in batches) == len(records), way
        # A client that quietly sends without compression would prove nothing about the codec. A batch of tiny records
        # may not shrink and may then stay as it is, so one batch must show it.
        assert CODEC_NUMBERS[codec] in {batch.codec for batch in batches}, way
        assert all((batch.producer >= 0) == idempotent for batch in batches), way


@pytest.mark.parametrize("reader", NAMES)
@pytest.mark.parametrize("writer", NAMES)
def test_reads_what_another_wrote(clients, written, writer, reader):
    records, before, after = written(writer)
    partitions = list(range(len(WAYS)))
    found = clients[reader].consume(f"matrix-{writer}", partitions, len(WAYS) * len(records))
    for partition in partitions:
        way = f"{WAYS[partition]} read by {reader}"
        assert [consumed.offset for consumed in found[partition]] == list(range(len(records))), way
        for consumed, wanted in zip(found[partition], records):
            got = consumed.record
            assert got.value == wanted.value and got.key == wanted.key, f"{way}, offset {consumed.offset}"
            headers = printed_headers(wanted.headers) if reader == "kcat" else wanted.headers
            assert got.headers == headers, f"{way}, offset {consumed.offset}"
            if wanted.timestamp is None:
                assert before <= got.timestamp <= after, f"{way}, offset {consumed.offset}"
            else:
                assert got.timestamp == wanted.timestamp, f"{way}, offset {consumed.offset}"


def test_kcat_timestamps_are_the_same_to_all_readers(clients, written):
    records, _, _ = written("kcat")
    partitions = list(range(len(WAYS)))
    seen = {}
    for name, client in clients.items():
        found = client.consume("matrix-kcat", partitions, len(WAYS) * len(records))
        seen[name] = {p: [consumed.record.timestamp for consumed in found[p]] for p in partitions}
    assert all(stamps == seen["java"] for stamps in seen.values()), seen
