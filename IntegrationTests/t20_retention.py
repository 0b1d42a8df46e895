# Records that go: DeleteRecords and retention with other people's clients, on one node and on three, over restarts and
# failovers. What was told as deleted is gone from every node's files and never comes back.

import os
import shutil
import subprocess
import time

import pytest
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType, AlterConfigOpType, ConfigEntry
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors

from commands import Martlet
from conditions import PATIENCE_SECONDS, wait_until

QUICK = {"log.retention.check.interval.ms": 300, "log.segment.bytes": 1 << 20, "log.segment.delete.delay.ms": 200}


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, defaults=QUICK, timing_scale=4)


def produce(cluster, topic, count, size=20, timestamp=None, partition=0):
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap.split(","), acks="all", metrics_enabled=False,
                             max_block_ms=PATIENCE_SECONDS * 1000)
    futures = [producer.send(topic, value=b"%08d" % n + b"x" * size, partition=partition, timestamp_ms=timestamp)
               for n in range(count)]
    producer.flush(timeout=PATIENCE_SECONDS)
    last = futures[-1].get(timeout=PATIENCE_SECONDS).offset
    producer.close()
    return last


class Reader:
    """A consumer of one partition without a group."""

    def __init__(self, cluster, topic):
        self.at = TopicPartition(topic, 0)
        self.consumer = KafkaConsumer(
            bootstrap_servers=cluster.bootstrap.split(","), group_id=None, enable_auto_commit=False,
            auto_offset_reset="none", metrics_enabled=False)
        self.consumer.assign([self.at])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.consumer.close()

    def start(self):
        return self.consumer.beginning_offsets([self.at])[self.at]

    def first_from(self, offset):
        self.consumer.seek(self.at, offset)

        def poll():
            for batch in self.consumer.poll(timeout_ms=200).values():
                return batch[0]
            return None
        return wait_until(f"a record from {offset}", poll)

    def is_turned_away(self, offset):
        self.consumer.seek(self.at, offset)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                assert not self.consumer.poll(timeout_ms=200), f"a deleted record at {offset} was read"
            except kafka_errors.OffsetOutOfRangeError:
                return True
        return False


def delete(cluster, topic, offset, timeout_ms=30_000):
    with KafkaAdminClient(bootstrap_servers=cluster.bootstrap.split(",")) as admin:
        answer = admin.delete_records({TopicPartition(topic, 0): offset}, timeout_ms=timeout_ms)
    return answer[TopicPartition(topic, 0)]["low_watermark"]


def saved_starts(node):
    """What the node's checkpoint file says, by partition."""
    with open(os.path.join(node.data, "log-start-offset-checkpoint"), encoding="utf-8") as file:
        lines = file.read().splitlines()[2:]
    return {f"{topic}-{partition}": int(offset) for topic, partition, offset in (line.split() for line in lines)}


def files(node, topic):
    return sorted(os.listdir(os.path.join(node.data, f"{topic}-0")))


def segment_bases(node, topic):
    return [int(name[:20]) for name in files(node, topic) if name.endswith(".log")]


def test_one_node_deletes_and_remembers(start_cluster):
    cluster = start_cluster(count=1, defaults=QUICK)
    cluster.create_topic("t", partitions=1)
    produce(cluster, "t", 100)
    with Reader(cluster, "t") as reader:
        assert reader.start() == 0
        assert delete(cluster, "t", 40) == 40
        assert reader.start() == 40
        assert reader.first_from(40).value.startswith(b"00000040")
        assert reader.is_turned_away(39)
        assert delete(cluster, "t", 10) == 40, "a start never goes back"
        with pytest.raises(kafka_errors.KafkaError) as refusal:
            delete(cluster, "t", 101)
        assert "OutOfRange" in repr(refusal.value)
    cluster[1].kill()
    cluster[1].start()
    cluster.wait_ready()
    with Reader(cluster, "t") as reader:
        assert wait_until("the partition is back", reader.start) == 40
        assert reader.is_turned_away(0)
        assert delete(cluster, "t", -1) == 100
        assert reader.start() == 100
    wait_until("the files are empty", lambda: cluster[1].partition_bytes("t", 0) == b"")
    wait_until("and the old ones gone", lambda: not any(name.endswith(".deleted") for name in files(cluster[1], "t")))
    cluster[1].kill()
    cluster[1].start()
    cluster.wait_ready()
    assert wait_until("writable again", lambda: produce(cluster, "t", 5)) == 104
    with Reader(cluster, "t") as reader:
        assert reader.start() == 100 and reader.first_from(100).offset == 100


def test_every_replica_deletes_before_the_answer_and_no_failover_brings_it_back(cluster):
    cluster.create_topic("three", assignments=[[1, 2, 3]])
    cluster.wait_isr_full("three")
    produce(cluster, "three", 200)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    futures = admin.delete_records([ConfluentPartition("three", 0, 120)], request_timeout=PATIENCE_SECONDS)
    [done] = [future.result(PATIENCE_SECONDS) for future in futures.values()]
    assert done.low_watermark == 120
    assert [saved_starts(node)["three-0"] for node in cluster.nodes.values()] == [120] * 3
    leader = cluster.leader("three", 0)
    leader.kill()

    def is_led_by_another():
        leading = max(p.leader for p in [cluster.partitions("three")[0]])
        return leading > 0 and leading != leader.id
    wait_until("another leads", is_led_by_another)
    with Reader(cluster, "three") as reader:
        assert wait_until("the start is told", reader.start) == 120
        assert reader.is_turned_away(119)
        assert reader.first_from(120).value.startswith(b"00000120")
    leader.start()
    cluster.wait_ready()
    cluster.wait_isr_full("three")


def test_a_paused_replica_holds_the_answer_up(cluster):
    cluster.create_topic("held", assignments=[[1, 2, 3]])
    cluster.wait_isr_full("held")
    produce(cluster, "held", 50)
    leader = cluster.leader("held", 0)
    follower = next(node for node in cluster.nodes.values() if node is not leader and node.id != cluster.controller())
    follower.pause()
    try:
        try:
            delete(cluster, "held", 30, timeout_ms=1_500)
            assert follower.id not in cluster.partitions("held", leader)[0].isr, "answered without an in-sync replica"
        except kafka_errors.KafkaError:
            if follower.id in cluster.partitions("held", leader)[0].isr:
                assert saved_starts(leader).get("held-0", 0) == 0, "shown before an in-sync replica had it"
    finally:
        follower.resume()

    # Who was told that the time is over asks again: a leader elected meanwhile does not know of the first request.
    def is_deleted():
        try:
            return delete(cluster, "held", 30) == 30
        except kafka_errors.KafkaError:
            return False

    wait_until("the deletion is made good", is_deleted)
    with Reader(cluster, "held") as reader:
        assert reader.start() == 30
    cluster.wait_isr_full("held")


def test_retention_by_size_shrinks_every_replica(cluster, kcat):
    # The config comes while the topic stands: it acts without a restart.
    cluster.create_topic("sized", assignments=[[1, 2, 3]])
    cluster.wait_isr_full("sized")
    produce(cluster, "sized", 6_000, size=1_000)
    assert all(len(segment_bases(node, "sized")) >= 5 for node in cluster.nodes.values())
    Martlet(cluster.bootstrap, cluster.folder).run("topics", "configs", "sized", "--set", "retention.bytes=2500000")
    for node in cluster.nodes.values():
        wait_until(f"node {node.id} holds little", lambda node=node: len(node.partition_bytes("sized", 0)) < 3_800_000)
        wait_until("nothing waits for its end", lambda node=node: not any(
            name.endswith(".deleted") for name in files(node, "sized")))
    with Reader(cluster, "sized") as reader:
        start = reader.start()
        assert start > 0 and len({segment_bases(node, "sized")[0] for node in cluster.nodes.values()}) == 1
        assert start in segment_bases(cluster[1], "sized")
        assert reader.is_turned_away(start - 1)
    read = subprocess.run(
        [shutil.which("kcat"), "-b", cluster.bootstrap, "-C", "-t", "sized", "-p", "0", "-o", "beginning", "-e", "-q",
         "-f", "%o\n"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    offsets = [int(line) for line in read.stdout.split()]
    assert offsets == list(range(start, 6_000))


def test_retention_by_time_takes_the_active_segment_too(cluster):
    cluster.create_topic("aged", assignments=[[1, 2, 3]])
    cluster.wait_isr_full("aged")
    hour_ago = int(time.time() * 1_000) - 3_600_000
    produce(cluster, "aged", 100, timestamp=hour_ago)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    change = ConfigResource(ResourceType.TOPIC, "aged", incremental_configs=[
        ConfigEntry("retention.ms", "600000", incremental_operation=AlterConfigOpType.SET)])
    for future in admin.incremental_alter_configs([change]).values():
        future.result(PATIENCE_SECONDS)
    with Reader(cluster, "aged") as reader:
        wait_until("all are too old", lambda: reader.start() == 100)
    for node in cluster.nodes.values():
        wait_until(f"node {node.id} holds none", lambda node=node: node.partition_bytes("aged", 0) == b"")
    assert produce(cluster, "aged", 10) == 109
    for node in cluster.nodes.values():
        assert node.is_alive(), node.tail()
    with Reader(cluster, "aged") as reader:
        assert reader.start() == 100 and reader.first_from(100).offset == 100


def test_a_wiped_node_begins_where_the_log_does(cluster):
    cluster.create_topic("wiped", assignments=[[1, 2, 3]])
    cluster.wait_isr_full("wiped")
    produce(cluster, "wiped", 90)
    assert delete(cluster, "wiped", 60) == 60
    victim = next(node for node in cluster.nodes.values()
                  if node is not cluster.leader("wiped", 0) and node.id != cluster.controller())
    victim.kill()
    victim.wipe()
    victim.start()
    cluster.wait_ready()
    cluster.wait_isr_full("wiped")
    wait_until("its start is saved", lambda: saved_starts(victim).get("wiped-0") == 60)
    victim.kill()
    victim.start()
    cluster.wait_ready()
    cluster.wait_isr_full("wiped")


def test_the_command_line_deletes(cluster):
    martlet = Martlet(cluster.bootstrap, cluster.folder)
    martlet.run("topics", "create", "by-hand", "--partitions", "2")
    cluster.wait_isr_full("by-hand")
    produce(cluster, "by-hand", 30)
    produce(cluster, "by-hand", 20, partition=1)
    said = martlet.text("topics", "delete-records", "by-hand", "--partition", "0", "--before", "12")
    assert said == "by-hand-0 begins at offset 12 now\n"
    assert martlet.json("topics", "delete-records", "by-hand", "--before", "end") == {
        "topic": "by-hand", "partitions": [{"partition": 0, "lowWatermark": 30}, {"partition": 1, "lowWatermark": 20}]}
    assert "OFFSET_OUT_OF_RANGE" in martlet.complaint(
        "topics", "delete-records", "by-hand", "--partition", "0", "--before", "31")
    assert "no topic never-made" in martlet.complaint("topics", "delete-records", "never-made", "--before", "end")
    martlet.run("topics", "delete-records", "by-hand", "--before", "5", code=2)
    martlet.run("topics", "delete-records", "by-hand", "--partition", "0", "--before", "soon", code=2)
    configs = {entry["name"]: entry["value"] for entry in martlet.json("topics", "configs", "by-hand")["configs"]}
    assert configs["cleanup.policy"] == "delete" and configs["retention.bytes"] == "-1"
    assert configs["retention.ms"] == "604800000" and configs["file.delete.delay.ms"] == "200"
