# Two of three nodes down: no write is acknowledged, nothing readable changes; back up, the cluster goes on by itself.

import confluent_kafka
import pytest

import wire
from batches import batch
from cluster import observe
from conditions import wait_until
from workload import read_all, wait_replicas_equal

TOPIC = "majority"

# REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND, LEADER_NOT_AVAILABLE,
# NOT_LEADER_OR_FOLLOWER.
NOT_ACKNOWLEDGED = {7, 19, 20, 5, 6}


def acknowledged(bootstrap, values, seconds):
    """Produces with acks=all; returns the values that were acknowledged within so long."""
    producer = confluent_kafka.Producer({
        "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": False, "log_level": 0,
        "message.timeout.ms": int(seconds * 1000)})
    found = []
    for value in values:
        producer.produce(TOPIC, value, partition=0,
                         on_delivery=lambda error, message: found.append(message.value()) if not error else None)
    assert producer.flush(seconds + 30) == 0
    return found


def readable(node):
    """What a consumer of partition 0 sees on this node: values' bytes, or the error that says to look elsewhere."""
    with node.connect() as connection:
        fetched = wire.fetch(connection, TOPIC, 0, 0)
    return fetched.error, fetched.high_watermark, fetched.records


@pytest.mark.parametrize("survivor_leads_quorum", [True, False], ids=["controller-survives", "controller-dies"])
def test_a_minority_acknowledges_nothing(new_cluster, survivor_leads_quorum):
    cluster = new_cluster(count=3).start()
    controller = cluster.controller()
    survivor = cluster[controller if survivor_leads_quorum else next(n for n in cluster.nodes if n != controller)]
    others = [node for node in cluster.nodes.values() if node is not survivor]
    cluster.create_topic(TOPIC, [[survivor.id] + [node.id for node in others]])
    before = [b"before-%d" % number for number in range(100)]
    assert sorted(acknowledged(cluster.bootstrap, before, 60)) == sorted(before)
    cluster.wait_isr_full(TOPIC)
    error, end, content = wait_until(
        "the leader serves all", lambda: (row := readable(survivor))[1] == len(before) and row)
    assert error == 0

    for node in others:
        node.kill()

    with survivor.connect(timeout=120) as connection:
        for number in range(3):
            error, _ = wire.produce(connection, TOPIC, 0, batch([b"unknown-%d" % number]), timeout_ms=1500)
            assert error in NOT_ACKNOWLEDGED
    assert acknowledged(cluster.bootstrap, [b"unknown-%d" % number for number in range(3, 6)], 4) == []

    def look():
        error, high_watermark, records = readable(survivor)
        assert (error, high_watermark, records) == (0, end, content) or (error in NOT_ACKNOWLEDGED and not records)
    assert observe(2, look) > 0

    for node in others:
        node.start()
    cluster.wait_ready()
    after = [b"after-%d" % number for number in range(100)]
    assert sorted(acknowledged(cluster.bootstrap, after, 90)) == sorted(after)
    cluster.wait_isr_full(TOPIC)
    values = [value for _, value in read_all(cluster, TOPIC)[0]]
    # librdkafka keeps the order of one partition, so what was readable before is still the beginning, word for word.
    assert values[:len(before)] == before
    assert set(values[len(before):]) - {b"unknown-%d" % number for number in range(6)} == set(after)
    wait_replicas_equal(cluster, TOPIC)


def test_the_metadata_of_a_minority_does_not_change(new_cluster):
    cluster = new_cluster(count=3).start()
    controller = cluster.controller()
    cluster.create_topic(TOPIC, partitions=1)
    for number, node in cluster.nodes.items():
        if number != controller:
            node.kill()
    with cluster[controller].connect(timeout=120) as connection:
        error, _ = wire.create_topic(connection, "too-late", partitions=1, timeout_ms=2000)
    assert error != 0
    for number, node in cluster.nodes.items():
        if number != controller:
            node.start()
    cluster.wait_ready()
    assert cluster.partitions(TOPIC)
    cluster.create_topic("in-time", partitions=1)
    assert cluster.partitions("in-time")[0].leader > 0
