# Disks that are really full: small file systems of their own, mounted for the test. Records are refused with an error that
# clients know and try again on, reads go on, no node ends, and all comes back by itself when there is space.

import errno
import os
import shutil
import subprocess

import confluent_kafka
import pytest

from conditions import wait_until
from power_cuts import PaddedLoad
from workload import read_all, verify, wait_replicas_equal

TOPIC = "narrow"
DISK = "48M"
# Left to a disk that is filled: some records still fit.
LEFT_BYTES = 400_000


class SmallDisk:
    """An ext4 file system in a file, mounted where a node has its data; tmpfs where there are no loop devices."""

    def __init__(self, path):
        self.path, self.image = path, path + ".image"
        os.makedirs(path)
        with open(self.image, "wb") as file:
            file.truncate(48 << 20)
        done = shutil.which("mkfs.ext4") and subprocess.run(
            ["mkfs.ext4", "-q", "-m", "0", self.image], capture_output=True, check=False).returncode == 0
        if not done or self.mount("-o", "loop", self.image):
            failure = self.mount("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs")
            if failure:
                sentence = f"no file system can be mounted here: {failure}"
                if os.environ.get("CI") == "true":
                    pytest.fail(sentence)
                pytest.skip(sentence)
        shutil.rmtree(os.path.join(path, "lost+found"), ignore_errors=True)

    def mount(self, *arguments):
        """What mount complained of; nothing when it did not."""
        done = subprocess.run(["mount", *arguments, self.path], capture_output=True, text=True, check=False)
        return done.stderr.strip() if done.returncode else ""

    @property
    def ballast(self):
        return os.path.join(self.path, "ballast")

    def free_bytes(self):
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, left=LEFT_BYTES):
        subprocess.run(["fallocate", "-l", str(self.free_bytes() - left), self.ballast], check=True)

    def fill_to_the_last_block(self):
        """What is left after records found no room any more."""
        with open(self.ballast, "ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free(self):
        os.remove(self.ballast)

    def unmount(self):
        # Lazily: a node may have ended a moment ago.
        subprocess.run(["umount", "-l", self.path], check=False)
        os.remove(self.image)


@pytest.fixture
def disks(new_cluster):
    cluster = new_cluster(count=3)
    made = {}
    try:
        for node in cluster.nodes.values():
            made[node.id] = SmallDisk(node.data)
        yield cluster, made
    finally:
        cluster.end()
        for disk in made.values():
            disk.unmount()


@pytest.fixture
def narrow(disks):
    cluster, made = disks
    cluster.start()
    ids = list(cluster.nodes)
    cluster.create_topic(TOPIC, [ids[p:] + ids[:p] for p in range(3)])
    cluster.wait_isr_full(TOPIC)
    # Five requests in flight: what follows a batch that was refused for want of space is refused for the same reason, or
    # librdkafka 2.16 would take a new epoch for all partitions and send again what another leader may have written.
    loads = [PaddedLoad("idempotent", TOPIC, 3, cluster.bootstrap, idempotent=True,
                        **{"max.in.flight.requests.per.connection": 5})]
    for load in loads:
        load.start()
    yield cluster, made, loads
    for load in loads:
        load.abandon()


def all_alive(cluster):
    for node in cluster.nodes.values():
        assert node.is_alive(), f"node {node.id} ended:\n{node.tail()}"


def refuses(cluster, partition):
    def is_refused():
        all_alive(cluster)
        producer = confluent_kafka.Producer({
            "bootstrap.servers": cluster.bootstrap, "acks": "all", "retries": 0, "message.timeout.ms": 10_000,
            "log_level": 0})
        errors = []
        for _ in range(20):
            producer.produce(TOPIC, b"filler:0:0" + b" " * 10_000, partition=partition,
                             on_delivery=lambda error, _: errors.append(error and error.name()))
        producer.flush(30)
        return "KAFKA_STORAGE_ERROR" in errors
    wait_until(f"{TOPIC}-{partition} is refused with KAFKA_STORAGE_ERROR", is_refused)


def proven(cluster, loads):
    """Everything goes on: the acknowledged records are there, and all replicas are equal."""
    cluster.wait_ready()
    cluster.wait_isr_full(TOPIC)
    for load in loads:
        load.wait_progress(20)
        load.stop()
        assert load.failures == []
    records = {partition: [(offset, value) for offset, value in rows if not value.startswith(b"filler")]
               for partition, rows in read_all(cluster, TOPIC).items()}
    for load in loads:
        for partition, rows in records.items():
            numbers = [int(value.split(b":")[2]) for _, value in rows]
            assert numbers == sorted(set(numbers)), f"partition {partition}: repeated or out of order"
            found = dict(rows)
            lost = [n for n, offset in load.acks[partition] if found.get(offset) != load.value(partition, n)]
            assert not lost, f"partition {partition}: acknowledged and not there: {lost[:10]}"
    wait_replicas_equal(cluster, TOPIC)


@pytest.mark.parametrize("full", [[2], [1, 2, 3]], ids=["one-node", "all-nodes"])
def test_a_full_disk_refuses_records_and_recovers_by_itself(narrow, full):
    cluster, made, loads = narrow
    for load in loads:
        load.wait_progress(20)
    # Whoever is the controller when the disks are full must live on with that.
    for number in full:
        made[number].fill()
    for number in full:
        refuses(cluster, number - 1)
    for number in full:
        made[number].fill_to_the_last_block()
    # Reads go on, and so does the metadata: there are votes, a controller, registrations, a topic can be made.
    controller = cluster[cluster.controller()]
    # What it wrote last may have no blocks yet, and on a full ext4 not even the same bytes can be written over that,
    # which a start does: it then says of those partitions that it is out of use, and the others lead them.
    controller.kill()
    cluster.controller()
    controller.start()
    cluster.wait_ready()
    all_alive(cluster)
    assert min(len(rows) for rows in read_all(cluster, TOPIC, enough=20).values()) >= 20
    cluster.create_topic("made-while-full", partitions=1)
    assert cluster.partitions("made-while-full")
    # Said in words, and once, not for each record.
    for number in full:
        assert "no space is left" in cluster[number].log() or "is full" in cluster[number].log()
        assert cluster[number].log_size() < 60_000, cluster[number].tail(5)
    all_alive(cluster)
    for number in full:
        made[number].free()
    for load in loads:
        load.wait_progress(20)
    all_alive(cluster)
    proven(cluster, loads)


def test_what_is_kept_back_for_the_metadata_is_not_there_for_others_to_take(narrow):
    cluster, made, loads = narrow
    for load in loads:
        load.wait_progress(20)
    made[2].fill()
    refuses(cluster, 1)
    for round_ in range(4):
        made[2].fill_to_the_last_block()
        # So many take some blocks of the metadata log; on this node, of what was kept back.
        topic = f"made-while-full-{round_}"
        cluster.create_topic(topic, partitions=60)
        wait_until(f"{topic} is known to all", lambda: all(
            cluster.partitions(topic, node=node) for node in cluster.nodes.values()))
        all_alive(cluster)
    made[2].free()
    proven(cluster, loads)


def test_a_node_that_starts_on_a_full_disk_serves_and_refuses_records(narrow):
    cluster, made, loads = narrow
    for load in loads:
        load.wait_progress(20)
    made[2].fill()
    refuses(cluster, 1)
    cluster[2].kill()
    cluster[2].start()
    cluster.wait_ready()
    assert min(len(rows) for rows in read_all(cluster, TOPIC, enough=20).values()) >= 20
    made[2].free()
    proven(cluster, loads)
