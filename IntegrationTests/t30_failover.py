# Nodes die, freeze and lose power together while producers write with acks=all: nothing acknowledged is lost.

import pytest

from conditions import wait_until
from workload import ConfluentLoad, JavaLoad, read_all, verify, wait_replicas_equal


class World:
    """A cluster with a topic whose leaders are placed around the controller, and producers that write to it."""

    def __init__(self, cluster, java):
        self.cluster = cluster
        self.controller = cluster.controller()
        self.first, self.second = [number for number in cluster.nodes if number != self.controller]
        self.java = java
        self.topic = "survivors"
        self.loads = []

    def lead(self, *leaders):
        """A partition led by each of these nodes, with replicas on all."""
        all_nodes = list(self.cluster.nodes)
        self.cluster.create_topic(
            self.topic, [[leader] + [number for number in all_nodes if number != leader] for leader in leaders])
        for partition, leader in enumerate(leaders):
            wait_until("the leader is the first replica",
                       lambda p=partition, n=leader: self.cluster.partitions(self.topic)[p].leader == n)
        count = len(leaders)
        self.loads = [
            ConfluentLoad("idempotent", self.topic, count, self.cluster.bootstrap, idempotent=True),
            ConfluentLoad("plain", self.topic, count, self.cluster.bootstrap, idempotent=False),
            JavaLoad("java", self.topic, count, self.cluster.bootstrap, self.java)]
        for load in self.loads:
            load.start()
        self.progress()

    def progress(self):
        for load in self.loads:
            load.wait_progress()

    def healed_and_verified(self):
        """All nodes run: the ISR is whole, every acknowledged record is there, every replica is the same."""
        self.cluster.wait_ready()
        self.cluster.wait_isr_full(self.topic)
        self.progress()
        for load in self.loads:
            load.stop()
        # Nothing was down for as long as a delivery may take, so nothing may have failed.
        assert {load.name: load.failures[:5] for load in self.loads if load.failures} == {}
        records = read_all(self.cluster, self.topic)
        verify(records, self.loads)
        self.cluster.wait_isr_full(self.topic)
        wait_replicas_equal(self.cluster, self.topic)


@pytest.fixture
def world(new_cluster, java):
    cluster = new_cluster(count=3)
    cluster.start()
    made = World(cluster, java)
    yield made
    for load in made.loads:
        load.abandon()


def test_killed_leader(world):
    world.lead(world.first, world.second)
    world.cluster[world.first].kill()
    world.progress()
    assert world.cluster.partitions(world.topic)[0].leader != world.first
    assert world.cluster.controller() == world.controller, "the controller had no reason to change"
    world.cluster[world.first].start()
    wait_until("the returned node leads its partition again",
               lambda: world.cluster.partitions(world.topic)[0].leader == world.first)
    world.healed_and_verified()


def test_killed_controller(world):
    world.lead(world.first, world.second)
    world.cluster[world.controller].kill()
    world.progress()
    assert world.cluster.controller() != world.controller
    world.cluster[world.controller].start()
    world.healed_and_verified()


def test_killed_leader_that_is_the_controller(world):
    world.lead(world.controller, world.first, world.second)
    world.cluster[world.controller].kill()
    world.progress()
    assert world.cluster.controller() != world.controller
    world.cluster[world.controller].start()
    world.healed_and_verified()


@pytest.mark.parametrize("is_controller", [False, True], ids=["leader", "leader-and-controller"])
def test_paused_leader_goes_on(world, is_controller):
    paused = world.controller if is_controller else world.first
    world.lead(paused, world.second)
    survivor = world.cluster[world.second]
    world.cluster[paused].pause()
    wait_until("another node leads, after the session of the paused one",
               lambda: world.cluster.partitions(world.topic, survivor)[0].leader not in (paused, -1))
    if is_controller:
        wait_until("another controller", lambda: survivor.quorum().leader not in (paused, -1))
    world.progress()
    world.cluster[paused].resume()
    world.healed_and_verified()


def test_all_killed_at_once(world):
    world.lead(world.controller, world.first, world.second)
    for node in world.cluster.nodes.values():
        node.kill()
    for node in world.cluster.nodes.values():
        node.start()
    world.healed_and_verified()
