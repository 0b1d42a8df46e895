# One node's disk fails, is slow, or its clock jumps: nothing is acknowledged on the word of a disk that failed, the node says
# what it met and ends, and the others go on.

import os

import confluent_kafka
import pytest

import power
from conditions import wait_until
from power_cuts import TOPIC, PaddedLoad, Powered
from workload import read_all, verify

YEAR_NS = 365 * 24 * 3600 * 10**9


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return power.build_disk(tmp_path_factory.mktemp("interposed"))


@pytest.fixture
def make_powered(new_cluster, library):
    made = []

    def make(**defaults):
        made.append(Powered(new_cluster(count=3, defaults=defaults), library, seed=1))
        return made[-1].start()
    yield make
    for one in made:
        one.end()


def ends_saying(node, sentence):
    """The node ends by itself, with an error and a sentence for the operator."""
    since = node.log_size()
    code = node.ended()
    assert code != 0
    last = [line for line in node.log(max(0, since - 2000)).splitlines() if "ERROR" in line or "martlet:" in line]
    assert any(sentence in line for line in last), f"exit {code}, wanted {sentence!r}:\n{node.tail()}"


def returns_with_what_its_disk_holds(powered, node):
    """The node lost power after its disk had failed, and got a good one."""
    powered.disks[node.id].cut(powered.rng, "lost")
    powered.disks[node.id].heal()
    node.start()


FAULTS = {"sync": "fail_syncs", "write": "fail_writes"}


@pytest.mark.parametrize("call", FAULTS)
def test_a_leader_whose_data_log_fails_ends_and_another_one_leads(make_powered, call):
    powered = make_powered()
    node = powered.cluster.leader(TOPIC, 0)
    getattr(powered.disks[node.id], FAULTS[call])(1, match=f"/{TOPIC}-0/")
    ends_saying(node, f"{TOPIC}-0")
    powered.progress()
    returns_with_what_its_disk_holds(powered, node)
    powered.prove()


@pytest.mark.parametrize("call", FAULTS)
@pytest.mark.parametrize("role", ["controller", "follower"])
def test_a_node_whose_metadata_log_fails_ends_and_the_others_go_on(make_powered, call, role):
    powered = make_powered()
    controller = powered.cluster.controller()
    number = controller if role == "controller" else next(n for n in powered.cluster.nodes if n != controller)
    node = powered.cluster[number]
    getattr(powered.disks[number], FAULTS[call])(1, match="/__cluster_metadata-0/0")
    ends_saying(node, "metadata log")
    powered.progress()
    returns_with_what_its_disk_holds(powered, node)
    powered.prove()


@pytest.mark.parametrize("call", FAULTS)
def test_the_only_replica_acknowledges_nothing_that_its_disk_refused(make_powered, call):
    """One error and success ever after, as Linux has it: whoever asks again believes what is not so."""
    powered = make_powered()
    node = powered.cluster[2]
    powered.cluster.create_topic("alone", [[2]])
    load = PaddedLoad("alone", "alone", 1, powered.cluster.bootstrap, idempotent=True)
    load.start()
    try:
        load.wait_progress()
        getattr(powered.disks[2], FAULTS[call])(1, match="/alone-0/")
        ends_saying(node, "alone-0")
        returns_with_what_its_disk_holds(powered, node)
        load.wait_progress()
        load.stop()
        assert load.failures == []
        verify(read_all(powered.cluster, "alone"), [load])
    finally:
        load.abandon()


def test_a_follower_with_a_slow_disk_leaves_the_isr_and_writes_go_on(make_powered):
    # The nodes stretch it by the scale, and the disk's delay stays.
    lag_ms = 3000 // int(os.environ.get("MARTLET_TIMING_SCALE", "1"))
    powered = make_powered(**{"replica.lag.time.max.ms": lag_ms})
    node = next(n for n in powered.cluster.nodes.values() if n.id != powered.cluster.controller())
    powered.disks[node.id].set(match=f"/{TOPIC}-", sync_delay_ms=2000)

    def is_out():
        others = [other for other in powered.cluster.nodes if other != node.id]
        found = powered.cluster.partitions(TOPIC, powered.cluster[others[0]])
        led = {index: p.isr for index, p in found.items() if p.leader != node.id}
        if not led or any(node.id in isr for isr in led.values()):
            raise ValueError(f"ISRs {led}")
        return True
    wait_until(f"node {node.id} is in no ISR but of what it leads", is_out)
    # Where it leads itself, every write waits for its disk; elsewhere none does any more.
    powered.progress()
    assert node.is_alive(), node.tail()
    powered.disks[node.id].heal()
    powered.prove()


@pytest.mark.parametrize("years", [1, -1], ids=["a-year-ahead", "a-year-back"])
def test_a_wall_clock_that_jumps_costs_nothing(make_powered, years):
    # Kafka refuses records from an hour and more ahead of the leader's clock (INVALID_TIMESTAMP); here they may.
    powered = make_powered(**{"log.message.timestamp.after.max.ms": 10 * YEAR_NS // 10**6})
    node = powered.cluster[powered.cluster.controller()]
    process = node.process.pid
    powered.disks[node.id].set(clock_offset_ns=years * YEAR_NS)
    powered.progress()
    powered.disks[node.id].set(clock_offset_ns=0)
    powered.progress()
    assert node.process.pid == process and node.is_alive()
    # And a life that begins in the wrong year and ends in the right one.
    powered.disks[node.id].set(clock_offset_ns=years * YEAR_NS)
    powered.lose_power([node.id], "lost")
    node.start()
    powered.cluster.wait_ready()
    powered.progress()
    powered.disks[node.id].set(clock_offset_ns=0)
    powered.prove()


def test_a_leader_a_year_behind_refuses_records_of_today_and_takes_them_again(make_powered):
    powered = make_powered()
    powered.cluster.create_topic("behind", [[2, 1, 3]])
    producer = confluent_kafka.Producer({"bootstrap.servers": powered.cluster.bootstrap, "log_level": 0})
    errors = []

    def send():
        producer.produce("behind", b"x", on_delivery=lambda error, _: errors.append(error and error.name()))
        assert producer.flush(60) == 0
        return errors[-1]
    for load in powered.loads:
        load.stop()
    powered.disks[2].set(clock_offset_ns=-YEAR_NS)
    assert send() == "INVALID_TIMESTAMP"
    powered.disks[2].set(clock_offset_ns=0)
    assert send() is None
