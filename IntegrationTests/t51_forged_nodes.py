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
    partition = (wire.int32(0) + wire.int32(leader_epoch) + wire.int64(offset) + wire.int32(leader_epoch)
                 + wire.int64(-1) + wire.int32(1 << 20) + wire.NO_TAGS)
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
    body = wire.int32(leader) + wire.int64(broker_epoch) + wire.compact_array([topic]) + wire.NO_TAGS
    reader = connection.call(wire.ALTER_PARTITION, 3, body)
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


@pytest.mark.parametrize("guesses", [False, True], ids=["wrong-epoch", "guessed-epoch"])
def test_a_forged_replica_fetch_acknowledges_nothing(cluster, guesses):
    """Both followers stand still; a client fetches in their names from the leader's end. Were it believed, the produce
    that waits for them would be acknowledged."""
    name = f"forged-{guesses}"
    leader = cluster[cluster.controller()]
    followers = [node for node in cluster.nodes.values() if node is not leader]
    cluster.create_topic(name, [[leader.id] + [node.id for node in followers]])
    topic = leader.metadata([name]).topics[name]
    epoch = topic.partitions[0].epoch
    with leader.connect(60) as producer:
        assert wire.produce(producer, name, 0, batch([b"first"]))[0] == 0
        cluster.wait_isr_full(name)
        for node in followers:
            node.pause()
        try:
            forge_while_a_produce_waits(leader, followers, producer, topic, forgeries(topic, epoch, guesses))
        finally:
            for node in followers:
                node.resume()
    cluster.wait_ready()
    cluster.wait_isr_full(name)
    with cluster.leader(name, 0).connect() as connection:
        assert wire.produce(connection, name, 0, batch([b"third"]))[0] == 0


def forgeries(topic, leader_epoch, guesses):
    """Ways to claim to be a replica: (connection, node id) to the bytes of the answer."""
    if guesses:
        return [lambda c, n: guess_epochs(c, topic, n, leader_epoch)]
    return [lambda c, n: wire.fetch(c, topic.name, 0, 1, replica=n).records,
            lambda c, n: wire.fetch(c, topic.name, 0, 2, replica=n).records,
            lambda c, n: fetch_as(c, topic.id, 2, n, 1 << 40, leader_epoch).content,
            lambda c, n: fetch_as(c, topic.id, 2, n, -1, leader_epoch).content]


def guess_epochs(connection, topic, replica, leader_epoch):
    """Broker epochs are small numbers that anybody can try; what makes a node must be more than knowing one."""
    for broker_epoch in range(60):
        fetch_as(connection, topic.id, 2, replica, broker_epoch, leader_epoch)


def forge_while_a_produce_waits(leader, followers, producer, topic, ways):
    answers, names, since = [], set(), leader.log_size()
    waiting = threading.Thread(target=lambda: answers.append(
        wire.produce(producer, topic.name, 0, batch([b"second"]), timeout_ms=5000)))
    waiting.start()
    while waiting.is_alive():
        for node in followers:
            for forge in ways:
                with leader.connect() as connection:
                    names.add(connection.name)
                    answer = ignoring_closed(lambda c=connection, f=forge, n=node.id: f(c, n))
                    assert b"second" not in (answer or b""), "an unacknowledged record was shown to a client"
        waiting.join(0.05)
    assert answers[0][0] in NOT_ACKNOWLEDGED
    wait_until("the log names who forged", lambda: any(name in leader.log(since) for name in names), 5)


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
        wait_until("the log names who forged", lambda: connection.name in controller.log(since), 5)
    after = controller.metadata([name]).topics[name].partitions[0]
    assert sorted(after.isr) == [1, 2, 3] and after.epoch == topic.partitions[0].epoch
    assert controller.is_alive()


def test_a_guessed_broker_epoch_does_not_make_a_node(cluster):
    controller = cluster[cluster.controller()]
    victim = next(number for number in cluster.nodes if number != controller.id)
    cluster.create_topic("guessed", [[victim] + [number for number in cluster.nodes if number != victim]])
    cluster.wait_isr_full("guessed")
    topic = controller.metadata(["guessed"]).topics["guessed"]
    for broker_epoch in range(60):
        with controller.connect() as connection:
            error = ignoring_closed(lambda c=connection, e=broker_epoch: alter_partition(
                c, topic.id, victim, e, topic.partitions[0].epoch, [victim]))
        assert error != 0, f"AlterPartition with broker epoch {broker_epoch} was believed"
    after = controller.metadata(["guessed"]).topics["guessed"].partitions[0]
    assert sorted(after.isr) == [1, 2, 3]


@pytest.mark.parametrize("api", [52, 53, 54, 58, 59, 62, 63, 67])
def test_node_routes_refuse_clients(cluster, api):
    """Requests of nodes with nothing in them: an error or a closed connection, and the cluster as it was."""
    before = cluster.controller()
    with cluster[1].connect() as connection:
        connection.send(wire.frame(api, 0, 1, bytes(64)))
        ignoring_closed(connection.answer)
    cluster.wait_ready()
    assert cluster.controller() == before
