# Producers that write while nodes die, and the proof afterwards that what was acknowledged is there.

import threading
import time
from collections import Counter

import confluent_kafka

from conditions import wait_until

# A record that is neither acknowledged nor refused for this long has failed; nothing here is down that long.
DELIVERY_SECONDS = 120


class Load:
    """What producers share: acks[partition] = [(number, offset)], and failures. A value is name:partition:number."""

    def __init__(self, name, topic, partitions):
        self.name, self.topic, self.partitions = name, topic, partitions
        self.acks = {partition: [] for partition in range(partitions)}
        self.failures = []

    def value(self, partition, number):
        return f"{self.name}:{partition}:{number}".encode()

    def counts(self):
        return [len(self.acks[partition]) for partition in range(self.partitions)]

    def wait_progress(self, records=50):
        """So many more acknowledged records in every partition, all of them sent after this call."""
        before = self.sent()

        def is_enough():
            more = self.acknowledged_beyond(before)
            if min(more) < records:
                raise ValueError(f"{more} by partition, failures {self.failures[:3]}")
            return True
        wait_until(f"{self.name}: {records} more acknowledged records in every partition", is_enough)


class ConfluentLoad(Load):
    """acks=all, at most 100 records in flight, idempotent or not."""

    def __init__(self, name, topic, partitions, bootstrap, idempotent, **options):
        super().__init__(name, topic, partitions)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.idempotent = idempotent
        self.is_stopping = False
        self.number = 0
        self.in_flight = 0
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": idempotent, "linger.ms": 2,
            "retries": 1_000_000, "message.timeout.ms": DELIVERY_SECONDS * 1000, "request.timeout.ms": 5000,
            "socket.connection.setup.timeout.ms": 5000, "socket.timeout.ms": 5000, "reconnect.backoff.max.ms": 500,
            "log_level": 0, **options})

    def start(self):
        self.thread.start()

    def run(self):
        while not self.is_stopping:
            if self.in_flight < 100:
                for partition in range(self.partitions):
                    self.send(partition, self.number)
                self.number += 1
            self.producer.poll(0.003)

    def send(self, partition, number):
        def reported(error, message):
            self.in_flight -= 1
            if error:
                self.failures.append((partition, number, str(error)))
            else:
                self.acks[partition].append((number, message.offset()))
        self.in_flight += 1
        self.producer.produce(self.topic, self.value(partition, number), partition=partition, on_delivery=reported)

    def sent(self):
        return self.number

    def acknowledged_beyond(self, number):
        return [sum(1 for n, _ in list(self.acks[p])[-2000:] if n > number) for p in range(self.partitions)]

    def abandon(self):
        """Ends without an account: the test has failed."""
        self.is_stopping = True
        self.thread.join()
        self.producer.purge()

    def stop(self):
        self.is_stopping = True
        self.thread.join()
        left = self.producer.flush(DELIVERY_SECONDS + 10)
        assert left == 0, f"{self.name}: {left} records have no outcome"


class JavaLoad(Load):
    """The Java client's idempotent producer, in its own process."""

    idempotent = True

    def __init__(self, name, topic, partitions, bootstrap, java):
        super().__init__(name, topic, partitions)
        self.java = java
        java.ask("bootstrap", bootstrap)

    def start(self):
        self.java.ask("load", self.topic, self.partitions, self.name)

    def counts(self):
        return [int(count) for count in self.java.ask("acknowledged")[0].split(",")]

    def sent(self):
        # What it has sent it does not tell; 100 in flight are as many as can be acknowledged of what came before.
        return [count + 100 for count in self.counts()]

    def acknowledged_beyond(self, before):
        return [count - start for count, start in zip(self.counts(), before)]

    def abandon(self):
        self.java.ask("abandon")

    def stop(self):
        for _ in range(int(self.java.ask("stop")[0])):
            partition, number, outcome = self.java.read()
            if outcome.lstrip("-").isdigit():
                self.acks[int(partition)].append((int(number), int(outcome)))
            else:
                self.failures.append((int(partition), int(number), outcome))


def read_all(cluster, topic, enough=None):
    """{partition: [(offset, value)]}, every record of the topic up to its ends, by a client. So many of each partition are
    `enough` where a load goes on: it may keep ahead of a slow reader for good."""
    partitions = sorted(cluster.partitions(topic))
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": cluster.bootstrap, "group.id": "never-joined", "enable.auto.commit": False,
        "enable.partition.eof": True, "check.crcs": True, "log_level": 0})
    found, ended, deadline = {partition: [] for partition in partitions}, set(), time.monotonic() + DELIVERY_SECONDS
    consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions])
    while len(ended) < len(partitions):
        assert time.monotonic() < deadline, f"{topic}: only {ended} of {partitions} read to the end"
        for message in consumer.consume(1000, timeout=0.2):
            if not message.error():
                found[message.partition()].append((message.offset(), message.value()))
                if len(found[message.partition()]) == enough:
                    ended.add(message.partition())
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise RuntimeError(f"{topic}: {message.error()}")
    consumer.close()
    return found


def verify(records, loads):
    """Acknowledged records are there: at their offsets; from idempotent producers also exactly once and in order."""
    known = {load.name: load for load in loads}
    for partition, rows in records.items():
        assert [offset for offset, _ in rows] == list(range(len(rows))), f"partition {partition} has gaps or repeats"
        numbers = {name: [] for name in known}
        for _, value in rows:
            name, its_partition, number = value.decode().split(":")
            assert int(its_partition) == partition and name in known, f"foreign record {value} in partition {partition}"
            numbers[name].append(int(number))
        for load in loads:
            verify_partition(load, partition, dict(rows), numbers[load.name])


def verify_partition(load, partition, by_offset, numbers):
    where = f"{load.name}, partition {partition}"
    for number, offset in load.acks[partition]:
        found = by_offset.get(offset)
        assert found == load.value(partition, number), f"{where}: {number} acknowledged at {offset}, there is {found}"
    if load.idempotent:
        repeated = [number for number, count in Counter(numbers).items() if count > 1]
        assert not repeated, f"{where}: more than once: {repeated[:10]}"
        unordered = [(a, b) for a, b in zip(numbers, numbers[1:]) if a > b]
        assert not unordered, f"{where}: out of order: {unordered[:10]}"


def wait_replicas_equal(cluster, topic):
    """The logs of all replicas are the same bytes: nobody writes any more, so they must come to that."""
    def are_equal():
        for index, partition in cluster.partitions(topic).items():
            copies = {node: cluster[node].partition_bytes(topic, index) for node in partition.replicas}
            reference = copies[partition.leader]
            for node, content in copies.items():
                if content != reference:
                    raise ValueError(f"{topic}-{index}: node {node} has {len(content)} bytes, its leader "
                                     f"{partition.leader} has {len(reference)}; equal up to byte "
                                     f"{common_prefix(content, reference)}")
        return True
    wait_until(f"all replicas of {topic} are equal byte for byte", are_equal)


def common_prefix(a, b):
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return low
