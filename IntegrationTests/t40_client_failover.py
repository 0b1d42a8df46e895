# Our own client while leaders die, freeze and restart: produced exactly once and in order, read without gap or repeat.

import threading
import time

import pytest

from background import Background
from commands import Martlet
from conditions import wait_until
from workload import read_all

KEYS = 16
PARTITIONS = 4
TEMPLATE = r"%p %o %k %s\n"


class Feeder:
    """Types a line <key>:<number> into `martlet produce` each millisecond, numbers from 0, keys in turn."""

    def __init__(self, command):
        self.command = command
        self.count = 0
        self.is_stopping = False
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.is_stopping:
                self.command.write(b"%d:%d\n" % (self.count % KEYS, self.count))
                self.count += 1
                time.sleep(0.001)
        except OSError as error:
            self.failure = error

    def stop(self):
        """Ends the input; returns how many lines it had."""
        self.is_stopping = True
        self.thread.join()
        try:
            self.command.process.stdin.close()
        except OSError as error:
            self.failure = self.failure or error
        return self.count


class Follower:
    """`martlet consume` from the beginning, for ever: {partition: [(offset, key, number)]} as it prints them."""

    def __init__(self, command):
        self.command = command
        self.parsed = 0
        self.records = {partition: [] for partition in range(PARTITIONS)}

    def take(self):
        lines = self.command.lines
        while self.parsed < len(lines):
            partition, row = parse(lines[self.parsed])
            self.records[partition].append(row)
            self.parsed += 1
        return self.records


class World:
    """A cluster, a topic with leaders on all nodes, a producer under way and a consumer that follows it."""

    def __init__(self, cluster, produce, consume):
        self.cluster, self.topic = cluster, "fed"
        self.produce, self.consume = produce, consume
        self.feeder, self.follower = Feeder(produce), Follower(consume)

    def progress(self):
        """In every partition the consumer has seen a record that was fed after this call."""
        mark = self.feeder.count

        def has_come():
            # An assertion would only be asked again; neither can come back to life.
            for command in (self.produce, self.consume):
                if not command.is_running():
                    pytest.fail(f"martlet {command.words} ended: {command.said()}")
            last = {p: rows[-1][2] if rows else -1 for p, rows in self.follower.take().items()}
            if min(last.values()) < mark:
                raise ValueError(f"last numbers seen {last}, waiting for {mark}")
            return True
        wait_until("records of now in every partition", has_come)

    def leader(self, partition):
        return self.cluster.leader(self.topic, partition)

    def heal(self):
        self.cluster.wait_ready()
        self.cluster.wait_isr_full(self.topic)
        self.progress()


def parse(line):
    partition, offset, key, number = map(int, line.split())
    return partition, (offset, key, number)


def start(cluster, *options):
    cluster.start()
    ids = list(cluster.nodes)
    # Each node leads at least one, so whichever dies takes a leader away.
    cluster.create_topic("fed", [ids[p % 3:] + ids[:p % 3] for p in range(PARTITIONS)])
    produce = Background(cluster.bootstrap, cluster.folder, "produce", "fed", "--key-separator", ":", *options)
    consume = Background(
        cluster.bootstrap, cluster.folder, "consume", "fed", "--from-beginning", "--template", TEMPLATE)
    return World(cluster, produce, consume)


@pytest.fixture
def world(new_cluster):
    made = start(new_cluster(count=3))
    with made.produce, made.consume:
        made.progress()
        yield made
        made.feeder.is_stopping = True


def verify_written(records, count):
    """Every number once, in order in its partition, each key in one partition, offsets without a gap."""
    for partition, rows in records.items():
        assert [offset for offset, _, _ in rows] == list(range(len(rows))), f"partition {partition}: gaps or repeats"
        numbers = [number for _, _, number in rows]
        unordered = [(a, b) for a, b in zip(numbers, numbers[1:]) if a >= b]
        assert not unordered, f"partition {partition}: repeated or out of order: {unordered[:10]}"
        assert all(key == number % KEYS for _, key, number in rows), f"partition {partition}: keys of other values"
    found = sorted(number for rows in records.values() for _, _, number in rows)
    lost = sorted(set(range(count)) - set(found))
    assert found == list(range(count)), f"{len(found)} records of {count}; lost {lost[:10]} ({len(lost)})"
    homes = {(key, partition) for partition, rows in records.items() for _, key, _ in rows}
    assert len(homes) == KEYS, f"a key in two partitions: {sorted(homes)}"


def finish(world):
    count = world.feeder.stop()
    assert world.produce.ended() == f"{count} records written to {world.topic}\n"
    assert world.feeder.failure is None
    # All of it afterwards, by our consumer and by another one.
    lines = Martlet(world.cluster.bootstrap, world.cluster.folder).run(
        "consume", world.topic, "--from-beginning", "--until-end", "--template", TEMPLATE).stdout.splitlines()
    afterwards = {partition: [] for partition in range(PARTITIONS)}
    for partition, row in map(parse, lines):
        afterwards[partition].append(row)
    verify_written(afterwards, count)
    by_confluent = {partition: [(offset, int(value)) for offset, value in rows]
                    for partition, rows in read_all(world.cluster, world.topic).items()}
    assert by_confluent == {p: [(offset, number) for offset, _, number in rows] for p, rows in afterwards.items()}
    # The one that followed has seen each of them, once and in the same order, and counts them when it is told to end.
    world.consume.wait_lines(count)
    world.consume.interrupt()
    assert world.consume.ended() == f"{count} records read\n"
    assert world.follower.take() == afterwards
    return count


def test_killed_leaders(world):
    for turn in range(4):
        victim = world.leader(turn % PARTITIONS)
        victim.kill()
        world.progress()
        victim.start()
        world.heal()
    finish(world)


@pytest.mark.parametrize("partition", [0, 1], ids=["first-to-ask", "another"])
def test_frozen_leader(world, partition):
    """Its connections stay open and say nothing; one of the two is the node that clients ask first for metadata."""
    frozen = world.leader(partition)
    survivor = next(node for node in world.cluster.nodes.values() if node is not frozen)
    frozen.pause()
    wait_until("another node leads", lambda: world.cluster.partitions(world.topic, survivor)[partition].leader
               not in (frozen.id, -1))
    world.progress()
    frozen.resume()
    world.heal()
    finish(world)


@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_every_node_restarted_in_turn(world, way):
    for node in world.cluster.nodes.values():
        if way == "stopped":
            assert node.stop() == 0
        else:
            node.kill()
        node.start()
        world.heal()
    finish(world)


def test_all_killed_at_once(world):
    for node in world.cluster.nodes.values():
        node.kill()
    for node in world.cluster.nodes.values():
        node.start()
    world.heal()
    finish(world)


@pytest.mark.parametrize("acks", ["1", "0"])
def test_fewer_acks_lose_perhaps_but_end(new_cluster, acks):
    """Nothing is promised about the records; the command goes on to the end of its input or says why not."""
    world = start(new_cluster(count=3), "--acks", acks)
    with world.produce, world.consume:
        wait_until("records come", lambda: len(world.consume.lines) > 100)
        victim = world.leader(0)
        victim.kill()
        wait_until("another node leads", lambda: world.leader(0) is not victim)
        victim.start()
        world.cluster.wait_ready()
        count = world.feeder.stop()
        said = world.produce.ended(code=None)
        code = world.produce.process.returncode
        # Without an answer nobody can say that a record was written.
        done = "sent" if acks == "0" else "written"
        assert (code, said) == (0, f"{count} records {done} to fed\n") or (
            code == 1 and said.startswith("Error: ") and len(said.strip().splitlines()) == 1), (code, said)
