"""Bit rot, short and missing files under running and stopped nodes: found, kept from readers, repaired from the others."""

import os
import random

import confluent_kafka
import pytest

from conditions import wait_until
from workload import read_all, wait_replicas_equal

TOPIC = "rot"
SEGMENT = 1 << 20
RECORDS = 6_000
# Each log is read through within two seconds, again and again.
SCRUB = {"log.scrub.interval.ms": 2_000, "log.scrub.bytes.per.second": 64 << 20}
RESTING = {"log.scrub.bytes.per.second": 0}


def value(number):
    return f"{number}:".encode() + random.Random(number).randbytes(1_000)


def fill(cluster, partitions=1):
    cluster.create_topic(TOPIC, partitions=partitions, configs=[("segment.bytes", str(SEGMENT))])
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "log_level": 0})
    failures = []
    for number in range(RECORDS):
        producer.produce(TOPIC, value(number), partition=number % partitions,
                         on_delivery=lambda error, _: error and failures.append(str(error)))
        producer.poll(0)
    assert producer.flush(60) == 0 and not failures, failures[:3]


@pytest.fixture(params=[SCRUB, RESTING], ids=["scrub", "no-scrub"])
def filled(request, new_cluster):
    cluster = new_cluster(count=3, defaults=request.param)
    cluster.start()
    fill(cluster)
    # The recovery point is written down every second: what lies below it is damage, and no torn tail.
    wait_until("recovery points are noted", lambda: all(
        noted(node) == RECORDS for node in cluster.nodes.values()))
    return cluster


def noted(node):
    path = os.path.join(node.data, "recovery-point-offset-checkpoint")
    with open(path, encoding="utf-8") as file:
        return next((int(line.split()[2]) for line in file if line.startswith(f"{TOPIC} 0 ")), 0)


def segments(node, partition=0):
    folder = os.path.join(node.data, f"{TOPIC}-{partition}")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".log")]


def flip(path, position, mask=0x10):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ mask]))
        os.fsync(file.fileno())


def proven(cluster, node, since):
    wait_until(f"node {node.id} says that it is repaired", lambda: "is repaired" in node.log(since))
    cluster.wait_isr_full(TOPIC)
    wait_replicas_equal(cluster, TOPIC)
    rows = [row for partition in read_all(cluster, TOPIC).values() for row in partition]
    assert sorted(row for _, row in rows) == sorted(value(number) for number in range(RECORDS))
    for other in cluster.nodes.values():
        assert other.is_alive()
        assert not [path for path in segments(other) if path.endswith(".cleaned")]


def a_follower(cluster):
    leader = cluster.leader(TOPIC, 0)
    return next(node for node in cluster.nodes.values() if node is not leader)


@pytest.mark.parametrize("harm", ["tail-bit", "short-tail", "missing-middle", "missing-first", "all-gone"])
def test_what_a_stopped_node_lost_is_repaired_at_its_start(filled, harm):
    node = a_follower(filled)
    node.kill()
    files = segments(node)
    assert len(files) > 4
    if harm == "tail-bit":
        # A start looks at the last batches only; what lies before is the scrub's and the readers' to find.
        flip(files[-1], os.path.getsize(files[-1]) - 100)
    elif harm == "short-tail":
        os.truncate(files[-1], os.path.getsize(files[-1]) // 2)
        os.truncate(files[-2], os.path.getsize(files[-2]) // 2)
    elif harm == "missing-middle":
        os.unlink(files[2])
    elif harm == "missing-first":
        os.unlink(files[0])
    else:
        for path in files:
            os.unlink(path)
    since = node.log_size()
    node.start()
    proven(filled, node, since)


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_bits_that_flip_under_a_running_node_are_found_before_a_reader_meets_them(new_cluster, role):
    cluster = new_cluster(count=3, defaults=SCRUB)
    cluster.start()
    fill(cluster)
    node = cluster.leader(TOPIC, 0) if role == "leader" else a_follower(cluster)
    since = node.log_size()
    lots = random.Random(7)
    for path in segments(node)[:-1]:
        flip(path, lots.randrange(os.path.getsize(path)))
    wait_until("the damage is found", lambda: "is damaged" in node.log(since))
    proven(cluster, node, since)


def test_a_reader_gets_no_flipped_bit_where_nothing_scrubs(new_cluster):
    cluster = new_cluster(count=3, defaults=RESTING)
    cluster.start()
    fill(cluster)
    leader = cluster.leader(TOPIC, 0)
    wait_until("recovery points are noted", lambda: all(noted(node) == RECORDS for node in cluster.nodes.values()))
    # A node that starts anew has seen nothing of what lies in its closed segments.
    for node in cluster.nodes.values():
        node.kill()
    since = leader.log_size()
    flip(segments(leader)[1], 5_000)
    for node in cluster.nodes.values():
        node.start()
    cluster.wait_ready()
    wait_until("the damaged copy leads", lambda: cluster.leader(TOPIC, 0) is leader)
    rows = read_all(cluster, TOPIC)[0]
    assert [row for _, row in rows] == [value(number) for number in range(RECORDS)]
    proven(cluster, leader, since)


def test_the_only_copy_goes_offline_and_says_so(new_cluster):
    cluster = new_cluster(count=1, defaults=RESTING)
    cluster.start()
    cluster.create_topic("other")
    fill(cluster)
    node = cluster[1]
    wait_until("the recovery point is noted", lambda: noted(node) == RECORDS)
    node.kill()
    path = segments(node)[-1]
    size = os.path.getsize(path)
    flip(path, size - 100)
    since = node.log_size()
    node.start()
    wait_until("it says what is damaged", lambda: "no other replica gives offset" in node.log(since))
    wait_until("the partition is offline", lambda: node.metadata([TOPIC]).topics[TOPIC].partitions[0].leader == -1)
    assert node.metadata(["other"]).topics["other"].partitions[0].leader == 1
    assert os.path.getsize(path) == size
    node.kill()
    flip(path, size - 100)
    node.start()
    cluster.wait_ready()
    rows = read_all(cluster, TOPIC)[0]
    assert [row for _, row in rows] == [value(number) for number in range(RECORDS)]
