# A cluster whose nodes lose power again and again under load, and the proof afterwards.

import concurrent.futures
import random
import signal
import threading
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

import power
from commands import Martlet
from conditions import wait_until
from workload import ConfluentLoad, read_all, verify, wait_replicas_equal

PARTITIONS = 3
TOPIC = "powered"
# Small, so that power goes away while segments roll and snapshots of the metadata are made.
DEFAULTS = {"log.segment.bytes": 1 << 20, "metadata.log.max.record.bytes.between.snapshots": 20_000,
            "metadata.log.segment.bytes": 16_384}
# Between two topics of the churn. Partitions are made and removed on the shard's loop, which waits for the disk meanwhile: on
# slow disks a few topics a second are more than it can do, and its partitions stand still.
PAUSE_SECONDS = 0.5
# What loses power: every second time all nodes.
TARGETS = ("all", "one", "all", "two", "leader", "all", "controller", "all")


class PaddedLoad(ConfluentLoad):
    """Longer values, so that segments fill."""

    def value(self, partition, number):
        return super().value(partition, number) + b" " * 200


class Reader:
    """A consumer from the beginning, for as long as the cluster lives. What it was once shown must stay: offsets go up one by
    one, the ends that it is told never go back, and no offset it reached is ever out of range."""

    def __init__(self, bootstrap, topic):
        self.seen = {partition: [] for partition in range(PARTITIONS)}
        self.ends = {partition: 0 for partition in range(PARTITIONS)}
        self.topic, self.wrong, self.is_stopping = topic, [], False
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": bootstrap, "group.id": "never-joined", "enable.auto.commit": False,
            "auto.offset.reset": "error", "check.crcs": True, "reconnect.backoff.max.ms": 500,
            "socket.timeout.ms": 5000, "log_level": 0})
        self.consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in self.seen])
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        asked = time.monotonic()
        while not self.is_stopping:
            for message in self.consumer.consume(1000, timeout=0.1):
                self.take(message)
            if time.monotonic() - asked > 0.5:
                self.ask_ends()
                asked = time.monotonic()

    def take(self, message):
        error = message.error()
        if not error:
            rows = self.seen[message.partition()]
            if message.offset() != len(rows):
                self.wrong.append(f"{message.partition()}: offset {message.offset()} after {len(rows)} records")
            rows.append(message.value())
        elif error.code() in (confluent_kafka.KafkaError._AUTO_OFFSET_RESET,
                              confluent_kafka.KafkaError.OFFSET_OUT_OF_RANGE,
                              confluent_kafka.KafkaError._LOG_TRUNCATION, confluent_kafka.KafkaError._BAD_MSG):
            self.wrong.append(f"{message.partition()}: {error} after {len(self.seen[message.partition()])} records")

    def ask_ends(self):
        for partition, before in self.ends.items():
            asked = confluent_kafka.TopicPartition(self.topic, partition)
            try:
                _, end = self.consumer.get_watermark_offsets(asked, timeout=0.5, cached=False)
            except confluent_kafka.KafkaException:
                continue
            if end < max(before, len(self.seen[partition])):
                self.wrong.append(f"{partition}: the end is {end}, it was {before}, {len(self.seen[partition])} read")
            self.ends[partition] = max(before, end)

    def stop(self):
        self.is_stopping = True
        self.thread.join()
        self.consumer.close()


class Churn:
    """Topics that are made and deleted all the time: what was acknowledged of that stays so, too."""

    def __init__(self, bootstrap):
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "socket.timeout.ms": 5000,
                                  "reconnect.backoff.max.ms": 500, "log_level": 0})
        self.made, self.deleted, self.number, self.is_stopping = [], [], 0, False
        self.pause = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.is_stopping:
            name = f"churn-{self.number}"
            self.number += 1
            topic = NewTopic(name, num_partitions=2, replication_factor=3)
            if self.is_done(self.admin.create_topics([topic], operation_timeout=5)[name]):
                self.made.append(name)
            if len(self.made) > 6:
                name = self.made.pop(0)
                # From now on its fate is unknown, until the deletion is acknowledged.
                if self.is_done(self.admin.delete_topics([name], operation_timeout=5)[name]):
                    self.deleted.append(name)
            self.pause.wait(PAUSE_SECONDS)

    @staticmethod
    def is_done(future):
        try:
            future.result(timeout=10)
        except (confluent_kafka.KafkaException, concurrent.futures.TimeoutError):
            return False
        return True

    def stop(self):
        self.is_stopping = True
        self.pause.set()
        self.thread.join()

    def prove(self, cluster):
        for node in cluster.alive():
            found = node.metadata(self.made + self.deleted).topics
            wrong = {name: found[name].error for name in self.made if found[name].error}
            assert not wrong, f"node {node.id}: topics that were made: {wrong}"
            wrong = {name: found[name].error for name in self.deleted if found[name].error != 3}
            assert not wrong, f"node {node.id}: topics that were deleted: {wrong}"


class Powered:
    """Three nodes on interposed disks, a topic led by all of them, producers that write and a consumer that reads."""

    def __init__(self, cluster, library, seed):
        self.cluster, self.seed, self.rng = cluster, seed, random.Random(seed)
        self.disks = {}
        for node in cluster.nodes.values():
            self.disks[node.id] = power.Disk(library, node.data)
            node.environment.update(self.disks[node.id].environment)
        self.loads, self.reader, self.churn = [], None, None
        self.cuts, self.lost = 0, power.Counts()
        self.story = []

    def start(self):
        self.cluster.start()
        ids = list(self.cluster.nodes)
        self.cluster.create_topic(TOPIC, [ids[p:] + ids[:p] for p in range(PARTITIONS)])
        self.cluster.wait_isr_full(TOPIC)
        self.loads = [PaddedLoad("idempotent", TOPIC, PARTITIONS, self.cluster.bootstrap, idempotent=True),
                      PaddedLoad("plain", TOPIC, PARTITIONS, self.cluster.bootstrap, idempotent=False)]
        for load in self.loads:
            load.start()
        self.reader = Reader(self.cluster.bootstrap, TOPIC)
        self.churn = Churn(self.cluster.bootstrap)
        self.progress()
        return self

    def progress(self, records=20):
        for load in self.loads:
            load.wait_progress(records)

    def targets(self, kind):
        ids = list(self.cluster.nodes)
        if kind == "all":
            return self.rng.sample(ids, 3)
        if kind == "two":
            return self.rng.sample(ids, 2)
        if kind == "leader":
            return [self.cluster.leader(TOPIC, self.rng.randrange(PARTITIONS)).id]
        if kind == "controller":
            return [self.cluster.controller()]
        return [self.rng.choice(ids)]

    def cut(self, kind, fate=None):
        """The power of some nodes goes, and comes back; the cluster takes writes again."""
        fate = fate or self.rng.choice(("lost", "mixed", "mixed", "torn"))
        targets = self.targets(kind)
        for disk in self.disks.values():
            # What is under way when the power goes is what a slow disk has not yet written.
            disk.set(sync_delay_ms=self.rng.choice((0, 2, 5, 15)))
        # Half of the time the others hear nothing at first: no connection is closed by a machine without power.
        is_silent = self.rng.random() < 0.5
        self.story.append(f"{kind} {targets} {fate}{' silent' if is_silent else ''}")
        self.lose_power(targets, fate, is_silent)
        if len(targets) == 1 and self.rng.random() < 0.5:
            self.progress(5)
        for number in targets:
            self.cluster[number].start()
        self.cluster.wait_ready()
        self.progress()
        assert not self.reader.wrong, self.reader.wrong[:5]

    def lose_power(self, targets, fate, is_silent=False):
        nodes = [self.cluster[number] for number in targets]
        if is_silent:
            for node in nodes:
                node.send(signal.SIGSTOP)
            # Not for a sleep: until somebody among the rest has noticed, or for as long as one session.
            self.wait_noticed(targets)
        for node in nodes:
            node.send(signal.SIGKILL)
        for node in nodes:
            node.ended()
            self.lost.add(self.disks[node.id].cut(self.rng, fate))
        self.cuts += 1

    def wait_noticed(self, targets):
        others = [node for node in self.cluster.nodes.values() if node.id not in targets]
        if len(others) < 2:
            return
        def is_noticed():
            leaders = [p.leader for p in self.cluster.partitions(TOPIC, others[0]).values()]
            return not set(leaders) & set(targets)
        wait_until(f"the others lead what {targets} led", is_noticed)

    def prove(self):
        """All that was acknowledged is there, once, in order and for every reader; all replicas are the same bytes."""
        self.cluster.wait_ready()
        self.cluster.wait_isr_full(TOPIC)
        self.progress()
        self.churn.stop()
        for load in self.loads:
            load.stop()
        assert {load.name: load.failures[:5] for load in self.loads if load.failures} == {}
        records = read_all(self.cluster, TOPIC)
        verify(records, self.loads)
        wait_until("the reader has read all", lambda: all(
            len(self.reader.seen[p]) >= len(rows) for p, rows in records.items()))
        self.reader.stop()
        assert not self.reader.wrong, self.reader.wrong[:5]
        for partition, rows in records.items():
            assert [value for _, value in rows] == self.reader.seen[partition], f"{partition}: the reader saw others"
        self.churn.prove(self.cluster)
        self.cluster.wait_isr_full(TOPIC)
        wait_replicas_equal(self.cluster, TOPIC)
        self.compare_dumps(records)

    def compare_dumps(self, records):
        """The same once more through `martlet log dump --verify`, which reads headers, checks CRCs and says what is wrong."""
        for partition, rows in records.items():
            for node in self.cluster.nodes.values():
                said = Martlet(self.cluster.bootstrap, self.cluster.folder).json_lines(
                    "log", "dump", f"{node.data}/{TOPIC}-{partition}", "--verify", code=(0, 1))
                # Indexes are caches without barriers: what a power loss left of them in earlier lives is not believed.
                wrong = [line for line in said if line["type"] == "problem" and not line["file"].endswith("index")]
                assert not wrong, wrong[:5]
                assert any(line["type"] == "file" and line["file"].endswith(".log") for line in said)

    def acknowledged(self):
        return sum(sum(load.counts()) for load in self.loads)

    def end(self):
        if self.churn:
            self.churn.stop()
        if self.reader and not self.reader.is_stopping:
            self.reader.stop()
        for load in self.loads:
            load.abandon()
