# Nodes of two shards: partitions of both are written and read over any connection, a node dies under load, and a node
# comes back with another number of shards.

import confluent_kafka
import pytest

from commands import Martlet
from conditions import PATIENCE_SECONDS, wait_until
from workload import ConfluentLoad, read_all, verify, wait_replicas_equal

PARTITIONS = 6


@pytest.fixture
def cluster(new_cluster):
    made = new_cluster(count=3, defaults={"shard.threads": 2}, timing_scale=4)
    made.start()
    made.create_topic("t", partitions=PARTITIONS)
    made.wait_isr_full("t")
    return made


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_kind_of_acknowledgement(cluster, acks):
    failed = []
    producer = confluent_kafka.Producer({
        "bootstrap.servers": cluster.bootstrap, "acks": acks, "linger.ms": 20, "log_level": 0})
    for number in range(1200):
        producer.produce("t", str(number).encode(), partition=number % PARTITIONS,
                         on_delivery=lambda error, _: failed.append(str(error)) if error else None)
    assert producer.flush(PATIENCE_SECONDS) == 0
    assert failed == []

    def is_all_there():
        found = read_all(cluster, "t")
        numbers = sorted(int(value) for rows in found.values() for _, value in rows)
        if numbers != list(range(1200)):
            raise ValueError(f"{len(numbers)} records, {len(set(numbers))} of them different")
        return True
    wait_until("every record is there once", is_all_there)


def test_killed_node_and_other_numbers_of_shards(cluster):
    loads = [ConfluentLoad("idempotent", "t", PARTITIONS, cluster.bootstrap, idempotent=True),
             ConfluentLoad("plain", "t", PARTITIONS, cluster.bootstrap, idempotent=False)]
    for load in loads:
        load.start()
    try:
        for load in loads:
            load.wait_progress()
        for number, shards in [(1, 1), (2, 3), (1, 2)]:
            cluster[number].kill()
            for load in loads:
                load.wait_progress()
            set_shards(cluster, shards)
            cluster[number].start()
            cluster.wait_ready()
            cluster.wait_isr_full("t")
    finally:
        for load in loads:
            load.is_stopping = True
    for load in loads:
        load.stop()
    assert {load.name: load.failures[:5] for load in loads if load.failures} == {}
    verify(read_all(cluster, "t"), loads)
    wait_replicas_equal(cluster, "t")


def set_shards(cluster, count):
    """For nodes that start from now on."""
    with open(cluster.config, encoding="utf-8") as file:
        lines = [f"  shard.threads: {count}\n" if "shard.threads" in line else line for line in file]
    with open(cluster.config, "w", encoding="utf-8") as file:
        file.writelines(lines)


def test_the_command_line_sees_one_node(cluster, tmp_path):
    martlet = Martlet(cluster.bootstrap, tmp_path)
    assert len(martlet.json("topics", "describe", "t")[0]["partitions"]) == PARTITIONS
    martlet.run("produce", "t", stdin=b"".join(b"%d\n" % number for number in range(300)))
    read = martlet.text("consume", "t", "--from-beginning", "--until-end").split()
    assert sorted(map(int, read)) == list(range(300))
    assert martlet.run("cluster", "health").returncode == 0
    for node in cluster.nodes.values():
        assert node.stop() == 0
    cluster.start()
    again = martlet.text("consume", "t", "--from-beginning", "--until-end").split()
    assert sorted(map(int, again)) == list(range(300))
