# The power of one, two and all nodes goes while producers write with acks=all: what was acknowledged is there, once, in order,
# the same on every node. And the same proof fails where the disks lie, or it would be worth nothing.

import pytest

import power
from power_cuts import DEFAULTS, TARGETS, TOPIC, Powered
from workload import read_all, verify

CUTS = 20
SEED = 4


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return power.build_disk(tmp_path_factory.mktemp("interposed"))


@pytest.fixture
def powered(new_cluster, library):
    made = Powered(new_cluster(count=3, defaults=DEFAULTS), library, SEED)
    yield made
    made.end()


def test_twenty_power_cuts_lose_nothing(powered):
    powered.start()
    for number in range(CUTS):
        powered.cut(TARGETS[number % len(TARGETS)])
    powered.prove()
    # Or the cuts took nothing and this has shown nothing.
    assert powered.lost.bytes > 0 and powered.lost.names > 0, vars(powered.lost)
    print(f"{powered.cuts} power cuts, {powered.acknowledged()} records acknowledged, 0 lost; "
          f"{vars(powered.lost)} undone by them")


def test_the_proof_fails_where_the_disks_lie(powered):
    powered.start()
    for disk in powered.disks.values():
        disk.set(lies=1)
    powered.progress()
    for load in powered.loads:
        load.stop()
    powered.reader.stop()
    powered.churn.stop()
    powered.lose_power([1, 2, 3], "lost")
    for disk in powered.disks.values():
        disk.heal()
    for node in powered.cluster.nodes.values():
        node.start()
    powered.cluster.wait_ready()
    records = read_all(powered.cluster, TOPIC)
    with pytest.raises(AssertionError, match="acknowledged at"):
        verify(records, powered.loads)
