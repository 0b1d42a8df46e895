# martlet groups and martlet consume --group: members share, one dies, offsets survive, and how they say no.

import contextlib
import itertools
import re
import threading
import time

import pytest

import wire
from background import Background
from batches import batch
from commands import Martlet, table_rows
from conditions import wait_until
from group_wire import commit_offset, find_coordinators

DELETE_TOPICS = 20
wire.FLEXIBLE_FROM[DELETE_TOPICS] = 4

PARTITIONS = 4
PROTOCOLS = ["classic", "consumer"]
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(start_cluster):
    # Who dies is missed after two seconds.
    return start_cluster(count=3, defaults={"group.min.session.timeout.ms": 1000})


@pytest.fixture(scope="module")
def martlet(cluster, tmp_path_factory):
    return Martlet(cluster.bootstrap, tmp_path_factory.mktemp("martlet"))


@pytest.fixture
def topic(cluster):
    name = f"orders-{next(numbers)}"
    cluster.create_topic(name, partitions=PARTITIONS)
    return name


@pytest.fixture
def group():
    return f"kitchen-{next(numbers)}"


class Member(Background):
    """martlet consume --group, by what it says it reads."""

    def __init__(self, martlet, group, *options):
        super().__init__(martlet.bootstrap, martlet.folder, "consume", *options, "--group", group)

    def owned(self):
        """The partitions that it reads now."""
        found = set()
        for line in self.said().splitlines():
            partitions = set(re.findall(r"\S+-\d+", line))
            if line.startswith("reads "):
                found |= partitions
            elif line.startswith(("gave up ", "lost ")):
                found -= partitions
        assert self.is_running(), f"martlet {self.words} ended with {self.process.returncode}: {self.said()}"
        return found

    def values(self):
        return [int(line) for line in self.lines]

    def leave(self):
        self.interrupt()
        return self.ended()


def shared(topic, *members):
    """Every partition has one reader, and nobody is idle."""
    def is_shared():
        owned = [member.owned() for member in members]
        every = {f"{topic}-{index}" for index in range(PARTITIONS)}
        return all(owned) and sum(map(len, owned)) == PARTITIONS and set().union(*owned) == every
    wait_until(f"{topic} is shared by {len(members)}", is_shared)


def write(martlet, topic, values):
    """Evenly over the partitions, as many batches as there are partitions."""
    values = list(values)
    for index in range(PARTITIONS):
        lines = b"".join(b"%d\n" % value for value in values[index::PARTITIONS])
        martlet.run("produce", topic, "--partition", str(index), stdin=lines)


def caught_up(martlet, group):
    """Nothing is left to read, and all of it is committed."""
    def is_caught_up():
        found = martlet.json("groups", "lag", group)[0]["partitions"]
        return len(found) == PARTITIONS and all(row["lag"] == 0 for row in found)
    wait_until(f"group {group} has no lag", is_caught_up)


def options(protocol):
    return ["--group-protocol", protocol] + (["--session-timeout", "2"] if protocol == "classic" else [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_members_share_and_one_takes_over_from_another(martlet, topic, group, protocol):
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Member(martlet, group, topic, "--from-beginning", *options(protocol)))
        shared(topic, one)
        two = stack.enter_context(Member(martlet, group, topic, "--from-beginning", *options(protocol)))
        shared(topic, one, two)
        write(martlet, topic, range(100))
        wait_until("all is read", lambda: len(one.lines) + len(two.lines) >= 100)
        # Each by one of them.
        assert sorted(one.values() + two.values()) == list(range(100))
        assert one.lines and two.lines
        caught_up(martlet, group)
        read = len(one.lines)
        if protocol == "classic":
            two.process.kill()
        else:
            # The cluster's session timeout for who dies is longer than a test may take.
            assert "gave up" in two.leave()
        shared(topic, one)
        write(martlet, topic, range(100, 200))
        wait_until("the one that is left reads all", lambda: len(one.lines) - read >= 100)
        assert sorted(one.values()[read:]) == list(range(100, 200))
        said = one.leave()
        assert said.splitlines()[-1] == f"{len(one.lines)} records read", said
    write(martlet, topic, range(200, 210))
    # Offsets survive their members.
    found = martlet.text("consume", topic, "--group", group, "--from-beginning", "--count", "10", *options(protocol))
    assert sorted(map(int, found.split())) == list(range(200, 210))
    assert martlet.json("groups", "lag", group)[0]["lag"] == 0


def test_a_group_moves_from_one_protocol_to_the_other(martlet, topic, group):
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(Member(martlet, group, topic, "--from-beginning", *options("classic")))
        shared(topic, old)
        new = stack.enter_context(Member(martlet, group, topic, "--from-beginning", *options("consumer")))
        shared(topic, old, new)
        old.leave()
        shared(topic, new)
        write(martlet, topic, range(20))
        new.wait_lines(20)
        assert sorted(new.values()) == list(range(20))


def test_a_coordinator_dies(martlet, cluster, topic, group):
    with Member(martlet, group, topic, "--from-beginning", *options("consumer")) as member:
        shared(topic, member)
        write(martlet, topic, range(40))
        caught_up(martlet, group)
        node = cluster[martlet.json("groups", "describe", group)[0]["coordinator"]["id"]]
        node.kill()
        try:
            begin = time.monotonic()
            wait_until("another node coordinates", lambda: martlet.json(
                "groups", "describe", group)[0]["coordinator"]["id"] != node.id)
            write(martlet, topic, range(40, 80))
            caught_up(martlet, group)
            print(f"committed again {time.monotonic() - begin:.1f} s after the death")
        finally:
            node.start()
            cluster.wait_ready()
        assert sorted(member.values()) == list(range(80))
        member.leave()


def test_static_members_get_their_partitions_back(martlet, topic, group):
    def start(name):
        return stack.enter_context(Member(
            martlet, group, topic, "--instance-id", name, "--group-protocol", "classic", "--session-timeout", "60"))
    with contextlib.ExitStack() as stack:
        one, two = start("one"), start("two")
        shared(topic, one, two)
        former = one.owned()
        one.leave()
        again = start("one")
        wait_until("it is back", lambda: again.owned() == former)
        assert two.said().count("gave up") <= 1
        members = martlet.json("groups", "describe", group)[0]["members"]
        assert sorted(member["instance"] for member in members) == ["one", "two"]


def test_a_second_process_of_an_instance_is_told(martlet, topic, group):
    with Member(martlet, group, topic, "--instance-id", "one") as one:
        shared(topic, one)
        said = martlet.complaint("consume", topic, "--group", group, "--instance-id", "one")
        assert "UNRELEASED_INSTANCE_ID" in said and "instance one is still in use" in said, said
        assert one.owned()


def test_several_topics(martlet, cluster, group):
    cluster.create_topic(f"{group}-a", partitions=PARTITIONS)
    cluster.create_topic(f"{group}-b", partitions=PARTITIONS)
    write(martlet, f"{group}-a", range(8))
    write(martlet, f"{group}-b", range(8))
    rows = martlet.json_lines(
        "consume", f"{group}-a", f"{group}-b", "--group", group, "--from-beginning", "--count", "16")
    assert sorted((row["topic"], int(row["value"])) for row in rows) == [
        (f"{group}-{name}", value) for name in "ab" for value in range(8)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_topics_by_a_pattern(martlet, cluster, group, protocol):
    for name in ("a-1", "a-2", "b-1"):
        cluster.create_topic(f"{group}-{name}", partitions=PARTITIONS)
    write(martlet, f"{group}-a-1", range(8))
    write(martlet, f"{group}-b-1", range(8, 16))
    write(martlet, f"{group}-a-2", range(16, 24))
    found = martlet.text("consume", "--pattern", f"{group}-a-.", "--group", group, "--from-beginning", "--count", "16",
                         "--group-protocol", protocol)
    assert sorted(map(int, found.split())) == [*range(8), *range(16, 24)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_no_pattern_is_told(martlet, group, protocol):
    said = martlet.complaint("consume", "--pattern", "a(", "--group", group, "--group-protocol", protocol)
    assert "INVALID_REGULAR_EXPRESSION" in said, said


def coordinator(cluster, group):
    def find():
        with cluster.any_node().connect() as connection:
            error, node = find_coordinators(connection, [group])[group]
        assert error == 0, f"FindCoordinator: error {error}"
        return cluster[node]
    return wait_until(f"group {group} has a coordinator", find)


@pytest.mark.parametrize("stand_still", [1, 2])
def test_what_was_counted_is_committed_or_it_says_so(martlet, cluster, group, stand_still):
    """The coordinator stands still when the last record is printed: another one takes the commit, unless a majority is
    gone."""
    first = coordinator(cluster, group)
    other, reads = [node for node in cluster.nodes.values() if node is not first]
    topic = f"{group}-alone"
    cluster.create_topic(topic, [[reads.id]])
    paused = [first, other][:stand_still]
    with reads.connect() as connection:
        assert wire.produce(connection, topic, 0, batch([b"%d" % value for value in range(9)]))[0] == 0
        with Member(martlet, group, topic, "--from-beginning", "--count", "10", "--patience", "6") as member:
            member.wait_lines(9)
            try:
                for node in paused:
                    node.pause()
                assert wire.produce(connection, topic, 0, batch([b"9"]))[0] == 0
                said = member.ended(0 if stand_still == 1 else 1)
            finally:
                for node in paused:
                    node.resume()
                cluster.wait_ready()
    assert member.values() == list(range(10))
    if stand_still == 1:
        assert martlet.json("groups", "lag", group)[0]["lag"] == 0
    else:
        assert "10 records printed, and not committed" in said, said


# martlet groups

def test_a_group_is_listed_and_described(martlet, topic, group):
    write(martlet, topic, range(8))
    with Member(martlet, group, topic, "--from-beginning", "--group-protocol", "consumer") as member:
        shared(topic, member)
        caught_up(martlet, group)
        listed = {row["group"]: row for row in martlet.json("groups", "list")}[group]
        described = martlet.json("groups", "describe", group)[0]
        assert (listed["state"], listed["protocol"], listed["type"]) == ("Stable", "consumer", "consumer")
        assert listed["coordinator"] == described["coordinator"]["id"]
        assert (described["state"], described["protocol"], described["assignor"]) == ("Stable", "consumer", "uniform")
        [found] = described["members"]
        assert found["client"] == "martlet" and "127.0.0.1" in found["host"]
        assert found["assignment"] == [{"topic": topic, "partition": index} for index in range(PARTITIONS)]
        assert [(row["committed"], row["end"], row["lag"], row["member"]) for row in described["partitions"]] == [
            (2, 2, 0, found["member"])] * PARTITIONS
        text = martlet.text("groups", "describe", group)
        assert text.startswith(f"group {group}  state Stable  protocol consumer  assignor uniform"), text
        assert f"{topic}:0,1,2,3" in text
        assert "joined" in described["rebalanced"]["reason"], described
        assert f"last rebalance {described['rebalanced']['at']}: " in text
        assert group in martlet.text("groups", "list", "--names", "--state", "stable").splitlines()
        member.leave()
    described = martlet.json("groups", "describe", group)[0]
    assert (described["state"], described["members"]) == ("Empty", [])
    assert "left" in described["rebalanced"]["reason"], described
    assert group not in martlet.text("groups", "list", "--names", "--state", "Stable").splitlines()


def test_lag_is_what_was_not_read(martlet, topic, group):
    write(martlet, topic, range(40))
    martlet.run("consume", topic, "--group", group, "--from-beginning", "--count", "40")
    write(martlet, topic, range(12))
    rows = table_rows(martlet.text("groups", "lag", group), "topic")
    assert [(row["committed"], row["end"], row["lag"]) for row in rows] == [("10", "13", "3")] * PARTITIONS
    assert {row["group"]: row["lag"] for row in martlet.json("groups", "lag")}[group] == 12


def committed(martlet, group):
    return [row["committed"] for row in martlet.json("groups", "lag", group)[0]["partitions"]]


@pytest.fixture
def at_rest(martlet, topic, group):
    """A group that has read ten records of each partition and is gone; five more have come."""
    write(martlet, topic, range(40))
    martlet.run("consume", topic, "--group", group, "--from-beginning", "--count", "40")
    write(martlet, topic, range(20))
    assert committed(martlet, group) == [10] * PARTITIONS
    return group


def test_offsets_are_reset_when_it_is_said_twice(martlet, topic, at_rest):
    group = at_rest
    dry = martlet.run("groups", "reset-offsets", group, "--topic", topic, "--to-earliest")
    assert dry.stderr.decode() == "nothing was changed: --execute does it\n"
    assert [(row["before"], row["new"]) for row in table_rows(dry.stdout.decode(), "topic")] == [("10", "0")] * 4
    assert committed(martlet, group) == [10] * PARTITIONS
    martlet.run("groups", "reset-offsets", group, "--topic", topic, "--to-earliest", "--execute")
    assert committed(martlet, group) == [0] * PARTITIONS
    found = martlet.text("consume", topic, "--group", group, "--count", "60")
    assert sorted(map(int, found.split())) == sorted([*range(40), *range(20)])


def test_every_way_to_reset(martlet, topic, at_rest):
    def reset(*arguments, **more):
        found = martlet.json("groups", "reset-offsets", at_rest, *arguments, "--execute", **more)
        assert found["executed"] is True
        offsets = {row["partition"]: row["offset"] for row in found["partitions"]}
        current = committed(martlet, at_rest)
        assert all(current[partition] == offset for partition, offset in offsets.items())
        return current

    assert reset("--all-topics", "--to-latest") == [15, 15, 15, 15]
    assert reset("--topic", f"{topic}:1,3", "--shift-by", "-4") == [15, 11, 15, 11]
    assert reset("--topic", f"{topic}:0", "--to-offset", "7") == [7, 11, 15, 11]
    # What the log does not hold becomes its begin or end.
    assert reset("--topic", topic, "--to-offset", "99") == [15, 15, 15, 15]
    assert reset("--topic", topic, "--shift-by", "-99") == [0, 0, 0, 0]
    assert reset("--all-topics", "--to-datetime", "2100-01-01T00:00:00+02:00") == [15, 15, 15, 15]
    assert reset("--all-topics", "--to-datetime", "2020-02-29") == [0, 0, 0, 0]


def test_lag_of_those_before_one_that_is_not_there(martlet, topic, at_rest):
    done = martlet.run("groups", "lag", at_rest, "nowhere", code=1)
    assert [row["lag"] for row in table_rows(done.stdout.decode(), "topic")] == ["5"] * PARTITIONS
    assert "there is no group nowhere" in done.stderr.decode()


def test_a_shift_of_nothing_is_a_failure(martlet, topic, group):
    done = martlet.run("groups", "reset-offsets", group, "--topic", topic, "--shift-by", "1", "--execute", code=1)
    assert "nothing is committed that could be shifted" in done.stdout.decode()
    assert "nothing was changed" in done.stderr.decode()
    found = martlet.json("groups", "reset-offsets", group, "--topic", topic, "--shift-by", "1", "--execute", code=1)
    assert (found["executed"], found["members"]) == (False, 0)


def test_partitions_that_are_gone_do_not_hinder_a_reset(martlet, cluster, group):
    """The topic is made anew with fewer partitions, out of sight of the group's coordinator."""
    controller = cluster.controller()
    group = next(name for name in (f"{group}-{number}" for number in range(100))
                 if coordinator(cluster, name).id != controller)
    node, topic = coordinator(cluster, group), f"{group}-topic"
    others = [other.id for other in cluster.nodes.values() if other is not node]
    cluster.create_topic(topic, [others, others])
    with node.connect() as connection:
        for partition in range(2):
            def commit(index=partition):
                error = commit_offset(connection, group, topic, index, 3)
                assert error == 0, f"OffsetCommit: error {error}"
                return True
            wait_until("an offset is committed", commit)
    node.pause()
    try:
        # Both at once: their answers wait until every node that counts as alive has heard.
        with cluster[controller].connect() as one, cluster[controller].connect() as two:
            deletion = threading.Thread(
                target=one.call, args=(DELETE_TOPICS, 1, wire.array([wire.string(topic)]) + wire.int32(30_000)))
            deletion.start()
            wait_until("it is made anew", lambda: wire.create_topic(two, topic, [others])[0] == 0)
            deletion.join()

            def is_elsewhere():
                error, found = find_coordinators(two, [group])[group]
                return error == 0 and found != node.id
            wait_until("another node coordinates", is_elsewhere)
        found = martlet.json("groups", "reset-offsets", group, "--all-topics", "--to-latest", "--execute")
    finally:
        node.resume()
        cluster.wait_ready()
    assert [(row["offset"], row["note"]) for row in found["partitions"]] == [
        (0, ""), (None, "there is no such partition any more")]
    assert committed(martlet, group) == [0, 3]


def test_a_group_that_is_not_there_begins_with_a_reset(martlet, topic, group):
    write(martlet, topic, range(8))
    martlet.run("groups", "reset-offsets", group, "--topic", topic, "--to-latest", "--execute")
    assert committed(martlet, group) == [2] * PARTITIONS


def test_a_group_in_use_is_neither_reset_nor_deleted(martlet, topic, group):
    with Member(martlet, group, topic, "--from-beginning") as member:
        shared(topic, member)
        said = martlet.complaint("groups", "reset-offsets", group, "--topic", topic, "--to-latest", "--execute")
        assert "has a member: stop it first" in said, said
        found = martlet.json("groups", "reset-offsets", group, "--topic", topic, "--to-latest")
        assert (found["executed"], found["members"]) == (False, 1)
        assert "has members: stop them first" in martlet.complaint("groups", "delete", group)
        assert member.owned()
        member.leave()
    assert martlet.text("groups", "delete", group) == f"deleted group {group}\n"
    assert "there is no group" in martlet.complaint("groups", "delete", group)
    assert martlet.json("groups", "delete", group, "--if-exists") == {
        "deleted": [], "absent": [group], "error": None}
    assert f"there is no group {group}: martlet groups list" in martlet.complaint("groups", "describe", group)


@pytest.mark.parametrize("words, said", [
    (["groups", "reset-offsets", "g", "--all-topics"], "say one of --to-earliest"),
    (["groups", "reset-offsets", "g", "--all-topics", "--to-latest", "--to-offset", "1"], "say one of --to-earliest"),
    (["groups", "reset-offsets", "g", "--to-latest"], "either --topic or --all-topics"),
    (["groups", "reset-offsets", "g", "--topic", "t:x", "--to-latest"], "t:x"),
    (["groups", "reset-offsets", "g", "--topic", "t", "--to-datetime", "2026-02-30"], "2026-02-30"),
    (["groups", "reset-offsets", "g", "--topic", "t", "--to-datetime", "2026-02-01T00:00+25:99"], "+25:99"),
    (["consume", "a", "b"], "several topics need --group"),
    (["consume", "a", "--group", "g", "--offset", "3"], "exclude --group"),
    (["consume", "a", "--instance-id", "g"], "need --group"),
    (["consume", "--pattern", "a.*"], "need --group"),
    (["consume", "a", "--pattern", "a.*", "--group", "g"], "exclude each other"),
    (["consume", "--group", "g"], "name a topic"),
    (["consume", "a", "--group", "g", "--session-timeout", "9"], "--group-protocol classic"),
])
def test_wrong_calls(martlet, words, said):
    assert said in martlet.run(*words, code=2).stderr.decode()


def test_what_is_not_there_is_named(martlet, topic, group):
    assert "there is no topic nowhere" in martlet.complaint("consume", "nowhere", "--group", group)
    assert "has no partition 9" in martlet.complaint(
        "groups", "reset-offsets", group, "--topic", f"{topic}:9", "--to-latest")
    assert "has no committed offsets" in martlet.complaint(
        "groups", "reset-offsets", group, "--all-topics", "--to-latest")
