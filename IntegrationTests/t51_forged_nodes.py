# Clients that claim to be nodes: a forged replica Fetch or AlterPartition moves nothing.

import threading

import pytest

import wire
from batches import batch
from conditions import wait_until

NOT_ACKNOWLEDGED = {7, 19, 20, 5, 6}


@pytest.fixture(scope="module")
def cluster(start_cluster):
    # Long sessions: paused followers must still be in the ISR while the forged Fetches come.
    return start_cluster(count=3, timing_scale=20)


def fetch_as(connection, topic_id, offset, replica, broker_epoch, leader_epoch):
    """Fetch 17 as a replica would send it."""
    partition = (wire.int32(0) + wire.int32(leader_epoch) + wire.int64(offset) + wire.int32(leader_epoch) + wire.int64(-1)
                 + wire.int32(1 << 20) + wire.NO_TAGS)
    topic = bytes.fromhex(topic_id) + wire.compact_array([partition]) + wire.NO_TAGS
    state = wire.int32(replica) + wire.int64(broker_epoch) + wire.NO_TAGS
    body = (wire.int32(0) + wire.int32(1) + wire.int32(1 << 20) + wire.int8(0) + wire.int32(0) + wire.int32(-1)
            + wire.compact_array([topic]) + wire.compact_array([]) + wire.compact_string("") + wire.tagged((1, state)))
    return connection.call(wire.FETCH, 17, body)


def alter_partition(connection, topic_id, leader, broker_epoch, leader_epoch, isr):
    """AlterPartition 3; returns the top-level error, or the partition's."""
    members = [wire.int32(number) + wire.int64(-1) + wire.NO_TAGS for number in isr]
    partition = (wire.int32(0) + wire.int32(leader_epoch) + wire.compact_array(members) + wire.int8(0) + wire.int32(0)
                 + wire.NO_TAGS)
    topic = bytes.fromhex(topic_id) + wire.compact_array([partition]) + wire.NO_TAGS
    reader = connection.call(
        wire.ALTER_PARTITION, 3, wire.int32(leader) + wire.int64(broker_epoch) + wire.compact_array([topic]) + wire.NO_TAGS)
    reader.int32()
    error = reader.int16()
    if error:
        return error

    def one(r):
        r.int32()
        return r.int16()
    return reader.array(lambda r: (r.uuid(), r.array(one)[0]))[0][1]


def ignoring_closed(work):
    """A closed connection is as good an answer as an error."""
    try:
        return work()
    except (ConnectionError, TimeoutError):
        return None


def test_a_forged_replica_fetch_acknowledges_nothing(cluster):
    """Both followers stand still; a client fetches in their names from the leader's end. Were it believed, the produce that waits
    for them would be acknowledged."""
    leader = cluster[cluster.controller()]
    followers = [node for node in cluster.nodes.values() if node is not leader]
    cluster.create_topic("forged", [[leader.id] + [node.id for node in followers]])
    topic = leader.metadata(["forged"]).topics["forged"]
    epoch = topic.partitions[0].epoch
    with leader.connect(60) as producer:
        assert wire.produce(producer, "forged", 0, batch([b"first"]))[0] == 0
        cluster.wait_isr_full("forged")
        for node in followers:
            node.pause()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(
            wire.produce(producer, "forged", 0, batch([b"second"]), timeout_ms=5000)))
        waiting.start()
        since = leader.log_size()
        names = set()
        while waiting.is_alive():
            for node in followers:
                for forge in (lambda c, n=node: wire.fetch(c, "forged", 0, 2, replica=n.id),
                              lambda c, n=node: fetch_as(c, topic.id, 2, n.id, 1, epoch),
                              lambda c, n=node: fetch_as(c, topic.id, 2, n.id, -1, epoch)):
                    with leader.connect() as connection:
                        names.add(connection.name)
                        ignoring_closed(lambda c=connection, f=forge: f(c))
            waiting.join(0.05)
        assert answers[0][0] in NOT_ACKNOWLEDGED
        wait_until("the log names who forged", lambda: any(name in leader.log(since) for name in names))
    for node in followers:
        node.resume()
    cluster.wait_ready()
    cluster.wait_isr_full("forged")
    with cluster.leader("forged", 0).connect() as connection:
        assert wire.produce(connection, "forged", 0, batch([b"third"]))[0] == 0


@pytest.mark.parametrize("broker_epoch", [-1, 0, 1, 1 << 40])
def test_a_forged_alter_partition_changes_nothing(cluster, broker_epoch):
    controller = cluster[cluster.controller()]
    victim = next(number for number in cluster.nodes if number != controller.id)
    name = f"forged-{broker_epoch}"
    cluster.create_topic(name, [[victim] + [number for number in cluster.nodes if number != victim]])
    cluster.wait_isr_full(name)
    topic = controller.metadata([name]).topics[name]
    since = controller.log_size()
    with controller.connect() as connection:
        error = ignoring_closed(lambda: alter_partition(
            connection, topic.id, victim, broker_epoch, topic.partitions[0].epoch, [victim]))
        assert error != 0
        wait_until("the log names who forged", lambda: connection.name in controller.log(since))
    after = controller.metadata([name]).topics[name].partitions[0]
    assert sorted(after.isr) == [1, 2, 3] and after.epoch == topic.partitions[0].epoch
    assert controller.is_alive()


@pytest.mark.parametrize("api", [52, 53, 54, 58, 59, 62, 63, 67])
def test_node_routes_refuse_clients(cluster, api):
    """Requests of nodes with nothing in them: an error or a closed connection, and the cluster as it was."""
    before = cluster.controller()
    with cluster[1].connect() as connection:
        connection.send(wire.frame(api, 0, 1, bytes(64)))
        ignoring_closed(connection.answer)
    cluster.wait_ready()
    assert cluster.controller() == before
