# A node that lost its data directory comes back as a new replica and voter, and has neither vote nor leadership before.

import pytest

from batches import heads
from cluster import observe
from conditions import wait_until
from workload import ConfluentLoad, read_all, verify, wait_replicas_equal

TOPIC = "wiped"


def voter_directories(quorum, number):
    return [voter.directory for voter in quorum.voters if voter.id == number]


@pytest.mark.parametrize("is_controller", [False, True], ids=["follower", "controller"])
def test_a_wiped_node_comes_back_as_a_new_one(new_cluster, is_controller):
    cluster = new_cluster(count=3).start()
    controller = cluster.controller()
    number = controller if is_controller else next(n for n in cluster.nodes if n != controller)
    wiped, others = cluster[number], [node for node in cluster.nodes.values() if node.id != number]
    old = voter_directories(others[0].quorum(), number)
    assert len(old) == 1
    cluster.create_topic(TOPIC, [[number] + [node.id for node in others], [node.id for node in others] + [number]])
    load = ConfluentLoad("idempotent", TOPIC, 2, cluster.bootstrap, idempotent=True)
    load.start()
    load.wait_progress(300)

    wiped.kill()
    wiped.wipe()
    load.wait_progress()
    wait_until("nobody counts on it any more", lambda: all(
        number not in partition.isr for node in others for partition in cluster.partitions(TOPIC, node).values()))
    wiped.start()

    def look():
        """Every moment on the way back is legal; true when the new voter stands."""
        for node in others:
            ends = {index: max(offset for _, offset in rows[-1000:]) + 1 for index, rows in load.acks.items()}
            for index, partition in cluster.partitions(TOPIC, node).items():
                if number in partition.isr or partition.leader == number:
                    assert end_on_disk(wiped, index) >= ends[index], f"it has not caught up and is trusted: {partition}"
        quorum = others[0].quorum()
        directories = voter_directories(quorum, number)
        assert len(directories) <= 1, f"old and new voter at once: {quorum}"
        return directories and directories != old

    # Not by wait_until, which takes a failed assertion for "not yet".
    found = []
    wait_until("the wiped node is a voter with its new directory", lambda: found.append(attempt(look)) or found[-1])
    if isinstance(found[-1], AssertionError):
        raise found[-1]
    quorum = others[0].quorum()
    assert len(quorum.voters) == 3
    cluster.wait_ready()
    cluster.wait_isr_full(TOPIC)
    load.wait_progress()
    load.stop()
    assert load.failures == []
    verify(read_all(cluster, TOPIC), [load])
    wait_replicas_equal(cluster, TOPIC)


def end_on_disk(node, index):
    batches = heads(node.partition_bytes(TOPIC, index))
    return batches[-1].last + 1 if batches else 0


def attempt(probe):
    """A failed assertion as a value; other errors (a node busy with its election) mean "not yet"."""
    try:
        return probe()
    except AssertionError as error:
        return error


def test_an_empty_node_and_one_other_are_no_majority(new_cluster):
    """Were the empty node's vote counted, what the two others had agreed on could be forgotten."""
    cluster = new_cluster(count=3).start()
    controller = cluster.controller()
    remaining, empty = [node for number, node in cluster.nodes.items() if number != controller]
    cluster.create_topic(TOPIC, partitions=1)
    # In this order: the other way round the two that are left may well elect a leader, rightly, before the second kill.
    empty.kill()
    cluster[controller].kill()
    empty.wipe()
    empty.start()

    def look():
        for node in (remaining, empty):
            try:
                leader = node.quorum().leader
            except (OSError, ValueError, ConnectionError):
                continue
            assert leader in (-1, controller), f"node {node.id} says that {leader} leads"
    observe(5, look)

    cluster[controller].start()
    cluster.wait_ready()
    assert TOPIC in cluster.any_node().metadata().topics
    cluster.wait_isr_full(TOPIC)
    wait_until("the empty node votes again",
               lambda: sorted(voter.id for voter in remaining.quorum().voters) == sorted(cluster.nodes))
