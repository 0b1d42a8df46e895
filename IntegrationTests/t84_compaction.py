# Compacted topics with other people's clients: the last value of every key through kills and restarts, tombstones, what
# is left on the disks of all replicas, the settings and their errors, and the log of the groups' offsets.

import collections
import os
import subprocess
import threading

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.record.memory_records import MemoryRecords

from commands import Martlet
from conditions import PATIENCE_SECONDS, wait_until

QUICK = {"log.cleaner.backoff.ms": 100, "log.segment.delete.delay.ms": 100, "log.retention.check.interval.ms": 300,
         "offsets.topic.num.partitions": 1, "group.initial.rebalance.delay.ms": 0}
COMPACT = [("cleanup.policy", "compact"), ("segment.ms", "200"), ("min.cleanable.dirty.ratio", "0.05")]


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, defaults=QUICK, timing_scale=4)


class Writer:
    """Puts values under keys and remembers, of each key, the one that was acknowledged at the highest offset."""

    def __init__(self, cluster, topic):
        self.topic = topic
        self.acknowledged = {}
        self.count = 0
        self.failures = []
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "linger.ms": 2, "log_level": 0,
            "topic.metadata.refresh.interval.ms": 500, "message.timeout.ms": PATIENCE_SECONDS * 1_000})

    def noted(self, value):
        def note(error, message):
            if error is not None:
                self.failures.append(error)
            elif message.offset() > self.acknowledged.get(message.key(), (-1, None))[0]:
                self.acknowledged[message.key()] = (message.offset(), value)
        return note

    def put(self, key, value):
        self.count += 1
        while True:
            try:
                self.producer.produce(self.topic, key=key, value=value, partition=0, on_delivery=self.noted(value))
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def flush(self):
        assert self.producer.flush(PATIENCE_SECONDS) == 0
        assert not self.failures, self.failures


class Load(threading.Thread):
    """Values for few keys, and now and then a tombstone, until it is told to end."""

    def __init__(self, writer, keys=40):
        super().__init__()
        self.writer = writer
        self.keys = keys
        self.ended = threading.Event()

    def run(self):
        number = 0
        while not self.ended.is_set():
            number += 1
            value = None if number % 17 == 0 else b"%08d" % number + b"v" * 400
            self.writer.put(b"key-%d" % (number * 7 % self.keys), value)
            # About as fast as the acknowledgements come.
            if number % 20 == 0:
                self.writer.producer.flush(PATIENCE_SECONDS)

    def end(self):
        self.ended.set()
        self.join()
        self.writer.flush()


def read_all(cluster, topic):
    """Everything a consumer gets from the beginning to the end, as (offset, key, value)."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": cluster.bootstrap, "group.id": "nobody", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "error", "log_level": 0,
        "topic.metadata.refresh.interval.ms": 500})
    start = confluent_kafka.TopicPartition(topic, 0, confluent_kafka.OFFSET_BEGINNING)
    consumer.assign([start])
    found = []

    def is_read():
        # All that is there in one go: between two looks the caller waits.
        while (message := consumer.poll(0.5)) is not None:
            if message.error() is None:
                found.append((message.offset(), message.key(), message.value()))
                continue
            # pylint: disable-next=protected-access
            if message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                return True
            assert message.error().retriable(), message.error()
        return False
    wait_until(f"{topic} is read to its end", is_read)
    consumer.close()
    offsets = [offset for offset, _, _ in found]
    assert offsets == sorted(set(offsets)), "offsets rise"
    return found


def last_values(records):
    """{key: (offset, value)} of the last record of each key."""
    return {key: (offset, value) for offset, key, value in records}


def on_disk(node, topic):
    """What a replica's files hold, taken apart by a library of somebody else's; not in the middle of a swap."""
    folder = os.path.join(node.data, f"{topic}-0")

    def files():
        names = [name for name in sorted(os.listdir(folder)) if ".log" in name and not name.endswith(".cleaned")]
        return [(name, os.stat(os.path.join(folder, name)).st_ino) for name in names if not name.endswith(".deleted")]

    def read():
        before = files()
        content = node.partition_bytes(topic, 0)
        return (content,) if files() == before and all(name.endswith(".log") for name, _ in before) else None
    batches = MemoryRecords(wait_until("no segment is being swapped", read)[0])
    found = []
    while batches.has_next():
        found += [(record.offset, record.key, record.value) for record in batches.next_batch()]
    return found


def check_last(found, acknowledged, where):
    """Each key's last acknowledged value is there; of one that ends with a tombstone at most that."""
    last = last_values(found)
    for key, (offset, value) in acknowledged.items():
        if value is None:
            assert last.get(key, (offset, None)) == (offset, None), f"{where}: {key} lives again"
        else:
            assert last.get(key) == (offset, value), f"{where}: {key} is {last.get(key)}, not offset {offset}"


def configure(cluster, topic, **settings):
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()])
    for future in admin.incremental_alter_configs([change]).values():
        future.result(PATIENCE_SECONDS)


def wait_shrunk(cluster, topic, is_small, roll):
    """Until every replica's files are small; only closed segments shrink, and `roll` closes one."""
    for node in cluster.nodes.values():
        def is_done(node=node):
            roll()
            return is_small(node)
        wait_until(f"node {node.id} has shrunk {topic}", is_done)


def test_the_last_of_every_key_outlives_kills_and_all_replicas_shrink(cluster, kcat):
    cluster.create_topic("kept", assignments=[[1, 2, 3]], configs=COMPACT)
    cluster.wait_isr_full("kept")
    writer = Writer(cluster, "kept")
    load = Load(writer)
    load.start()
    try:
        for node in cluster.nodes.values():
            before = writer.count
            wait_until("it is written", lambda before=before: writer.count > before + 1_000)
            wait_until(f"node {node.id} compacts", lambda node=node: "kept-0: compacted below" in node.log())
            since = node.log_size()
            node.kill()
            before = writer.count
            wait_until("and written without it", lambda before=before: writer.count > before + 200)
            node.start()
            cluster.wait_ready()
            cluster.wait_isr_full("kept")
            wait_until("it compacts again",
                       lambda node=node, since=since: "kept-0: compacted below" in node.log(since))
    finally:
        load.end()
    assert len(writer.acknowledged) == 40
    check_last(read_all(cluster, "kept"), writer.acknowledged, "a consumer")

    # All of it is old but what is written now.
    def roll():
        writer.put(b"roll", b"%d" % writer.count)
        writer.flush()
    wait_shrunk(cluster, "kept", lambda node: len(on_disk(node, "kept")) < 150, roll)
    end = max(offset for offset, _ in writer.acknowledged.values())
    assert end > 3_000
    for node in cluster.nodes.values():
        check_last(on_disk(node, "kept"), writer.acknowledged, f"node {node.id}")
        assert "nothing wrong" in Martlet(cluster.bootstrap, cluster.folder).text(
            "log", "dump", os.path.join(node.data, "kept-0"), "--verify")
        with open(os.path.join(node.data, "cleaner-offset-checkpoint"), encoding="utf-8") as file:
            assert file.readline() == "0\n"
    read = subprocess.run(
        ["kcat", "-b", cluster.bootstrap, "-C", "-t", "kept", "-p", "0", "-o", "beginning", "-e", "-q", "-Z",
         "-f", "%o %k\n"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    rows = [line.split() for line in read.stdout.splitlines()]
    assert {key: int(offset) for offset, key in rows if key != "roll"} == {
        key.decode(): offset for key, (offset, value) in writer.acknowledged.items()
        if key != b"roll" and (value is not None or key.decode() in [row[1] for row in rows])}


def test_tombstones_go_when_all_replicas_are_clean(cluster):
    cluster.create_topic(
        "buried", assignments=[[1, 2, 3]], configs=[*COMPACT, ("delete.retention.ms", "300")])
    cluster.wait_isr_full("buried")
    writer = Writer(cluster, "buried")
    for number in range(20):
        writer.put(b"gone-%d" % number, b"x" * 100)
    writer.put(b"stays", b"1")
    writer.flush()
    away = next(node for node in cluster.nodes.values()
                if node is not cluster.leader("buried", 0) and node.id != cluster.controller())
    away.kill()
    for number in range(20):
        writer.put(b"gone-%d" % number, None)
    writer.flush()

    def roll():
        writer.put(b"roll", b"%d" % writer.count)
        writer.flush()

    # The values go, and their tombstones stay for the copy that is away.
    def tombs(node):
        return sum(1 for _, key, _ in on_disk(node, "buried") if key.startswith(b"gone"))
    for node in cluster.alive():
        since = node.log_size()

        def has_compacted(node=node, since=since):
            roll()
            # Several times, with far more than delete.retention.ms between the first and the last.
            return node.log(since).count("buried-0: compacted below") >= 8
        wait_until("values go", has_compacted)
        assert tombs(node) == 20
        assert all(value is None for _, key, value in on_disk(node, "buried") if key.startswith(b"gone"))
    away.start()
    cluster.wait_ready()
    cluster.wait_isr_full("buried")
    wait_shrunk(cluster, "buried", lambda node: tombs(node) == 0, roll)
    found = read_all(cluster, "buried")
    assert (b"stays", b"1") in [(key, value) for _, key, value in found]
    assert not [key for _, key, _ in found if key.startswith(b"gone")]


def test_compact_and_delete_does_both(cluster):
    cluster.create_topic("both", assignments=[[1, 2, 3]], configs=[
        *COMPACT[1:], ("cleanup.policy", "compact,delete"), ("retention.ms", "3600000")])
    cluster.wait_isr_full("both")
    writer = Writer(cluster, "both")
    for number in range(300):
        writer.put(b"key-%d" % (number % 3), b"%d" % number)
        if number % 30 == 0:
            writer.flush()

    def roll():
        writer.put(b"roll", b"%d" % writer.count)
        writer.flush()
    wait_shrunk(cluster, "both", lambda node: len(on_disk(node, "both")) < 30, roll)
    check_last(read_all(cluster, "both"), writer.acknowledged, "a consumer")
    configure(cluster, "both", retention_ms="100")
    for node in cluster.nodes.values():
        wait_until("all is too old", lambda node=node: not on_disk(node, "both"))


def test_records_without_a_key_are_refused(cluster):
    cluster.create_topic("keyed", partitions=1, configs=COMPACT)
    # An idempotent one would fail what follows on a refused batch.
    settings = {"bootstrap_servers": cluster.bootstrap.split(","), "acks": "all", "enable_idempotence": False,
                "metrics_enabled": False}
    producer = KafkaProducer(**settings)
    with pytest.raises(kafka_errors.InvalidRecordError):
        producer.send("keyed", value=b"no key").get(timeout=PATIENCE_SECONDS)
    assert producer.send("keyed", key=b"k", value=b"v").get(timeout=PATIENCE_SECONDS).offset == 0
    producer.close()
    # The setting acts at once, both ways.
    configure(cluster, "keyed", cleanup_policy="delete")
    producer = KafkaProducer(**settings)

    def is_taken():
        return producer.send("keyed", value=b"no key").get(timeout=PATIENCE_SECONDS).offset >= 1
    wait_until("it is taken", is_taken)
    producer.close()


def test_settings_and_their_errors(cluster):
    martlet = Martlet(cluster.bootstrap, cluster.folder)
    cluster.create_topic("configured", partitions=1, configs=COMPACT)
    shown = {entry["name"]: entry["value"] for entry in martlet.json("topics", "configs", "configured")["configs"]}
    assert shown["cleanup.policy"] == "compact" and shown["min.cleanable.dirty.ratio"] == "0.05"
    assert shown["delete.retention.ms"] == "86400000" and shown["min.compaction.lag.ms"] == "0"
    assert shown["max.compaction.lag.ms"] == "9223372036854775807"
    for settings in ({"cleanup_policy": "compress"}, {"min_cleanable_dirty_ratio": "1.5"},
                     {"delete_retention_ms": "-1"}, {"max_compaction_lag_ms": "0"},
                     {"min_compaction_lag_ms": "20", "max_compaction_lag_ms": "10"}):
        with pytest.raises(confluent_kafka.KafkaException) as refusal:
            configure(cluster, "configured", **settings)
        assert refusal.value.args[0].code() == confluent_kafka.KafkaError.INVALID_CONFIG, settings
    assert "INVALID_CONFIG" in martlet.complaint("topics", "create", "never", "--config", "cleanup.policy=compress")
    assert "POLICY_VIOLATION" in martlet.complaint(
        "topics", "delete-records", "configured", "--partition", "0", "--before", "end")


def test_the_log_of_the_groups_shrinks(cluster):
    cluster.create_topic("read", partitions=1)
    settings = {"bootstrap.servers": cluster.bootstrap, "group.id": "busy", "enable.auto.commit": False, "log_level": 0}
    consumer = confluent_kafka.Consumer(settings)
    at = collections.Counter()

    def commit():
        at["read"] += 1
        consumer.commit(
            offsets=[confluent_kafka.TopicPartition("read", 0, at["read"], metadata="m" * 200)], asynchronous=False)

    wait_until("a commit is taken", lambda: commit() or True)
    configure(cluster, "__consumer_offsets", segment_ms="200", min_cleanable_dirty_ratio="0.05")
    for _ in range(400):
        commit()
    wait_shrunk(cluster, "__consumer_offsets", lambda node: len(on_disk(node, "__consumer_offsets")) < 100, commit)
    coordinator = cluster.leader("__consumer_offsets", 0)
    coordinator.kill()

    def committed():
        other = confluent_kafka.Consumer(settings)
        try:
            return other.committed([confluent_kafka.TopicPartition("read", 0)], timeout=10)[0].offset
        finally:
            other.close()
    try:
        assert wait_until("another coordinates", committed) == at["read"]
    finally:
        coordinator.start()
        cluster.wait_ready()
        consumer.close()
