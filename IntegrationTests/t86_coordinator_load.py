# A hundred thousand committed offsets of a thousand groups on one coordinator: it is killed, and the next one loads them.

import time

import pytest

from conditions import wait_until
from group_wire import ELSEWHERE, OFFSET_COMMIT, fetch_offsets, find_coordinators
from wire import array, int32, int64, string

TOPIC, PARTITIONS, GROUPS = "wide", 100, 1_000
NAMES = [f"group-{number}" for number in range(GROUPS)]


def offset(number, index):
    return number * 1_000 + index + 1


@pytest.fixture(scope="module")
def cluster(start_cluster):
    # One partition of __consumer_offsets: one coordinator has it all.
    made = start_cluster(count=3, defaults={"offsets.topic.num.partitions": 1})
    made.create_topic(TOPIC, partitions=PARTITIONS)
    made.wait_isr_full(TOPIC)
    return made


def coordinator(cluster):
    def find():
        with cluster.any_node().connect() as connection:
            error, node = find_coordinators(connection, [NAMES[0]])[NAMES[0]]
        assert error == 0, f"FindCoordinator: error {error}"
        return cluster[node]
    return wait_until("a coordinator", find)


def commit_all(connection):
    for number, name in enumerate(NAMES):
        rows = array([int32(index) + int64(offset(number, index)) + string("") for index in range(PARTITIONS)])
        reader = connection.call(
            OFFSET_COMMIT, 2, string(name) + int32(-1) + string("") + int64(-1) + array([string(TOPIC) + rows]))
        errors = {error for _, its in reader.array(
            lambda r: (r.string(), r.array(lambda p: (p.int32(), p.int16())))) for _, error in its}
        assert errors == {0}, f"{name}: {errors}"


def test_the_next_coordinator_knows_all_offsets_soon(cluster, capsys):
    first = coordinator(cluster)
    cluster.wait_isr_full("__consumer_offsets")
    with first.connect(60) as connection:
        commit_all(connection)
    first.kill()
    killed_at = time.monotonic()
    found, seen = {}, set()

    def answered():
        with cluster.any_node().connect() as connection:
            error, node = find_coordinators(connection, [NAMES[-1]])[NAMES[-1]]
        seen.add(error)
        assert error == 0 and node != first.id, f"FindCoordinator: error {error}, node {node}"
        with cluster[node].connect(60) as connection:
            error, _ = fetch_offsets(connection, [NAMES[-1]])[NAMES[-1]]
            seen.add(error)
            assert error == 0, f"OffsetFetch: error {error}"
            took = time.monotonic() - killed_at
            for first_name in range(0, GROUPS, 100):
                found.update(fetch_offsets(connection, NAMES[first_name:first_name + 100]))
        return took
    took = wait_until("the next coordinator answers", answered)
    with capsys.disabled():
        print(f"\n    {GROUPS * PARTITIONS} offsets of {GROUPS} groups: known {took:.2f} s after the kill")
    # Meanwhile it says "not now" or "not here", and never that it knows nothing.
    assert seen <= {0} | ELSEWHERE, seen
    for number, name in enumerate(NAMES):
        error, offsets = found[name]
        assert error == 0
        assert offsets == {(TOPIC, index): (offset(number, index), "", 0) for index in range(PARTITIONS)}, name
