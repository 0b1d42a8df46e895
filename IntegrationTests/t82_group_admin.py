# Offsets with metadata by simple consumers, and groups listed, described, altered and deleted by every client's admin.

import itertools

import pytest

import wire
from batches import batch
from clients.groups import AioGroups, ConfluentGroups, GroupError, JavaGroups, KafkaPythonGroups, as_written
from conditions import wait_until
from group_wire import commit_offset, fetch_offsets, find_coordinators
from members import Process

TOPIC = "counted"
CLIENTS = ["confluent", "kafka-python", "aiokafka", "java"]
ADMINS = ["confluent", "kafka-python", "java"]
PLAIN = {(TOPIC, 0): (3, ""), (TOPIC, 2): (0, "")}
OFFSETS = {(TOPIC, 0): (3, "three, said käse"), (TOPIC, 2): (0, "")}
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(start_cluster):
    made = start_cluster(count=3)
    made.create_topic(TOPIC, partitions=4)
    return made


@pytest.fixture(scope="module")
def clients(cluster, java):
    made = [kind(cluster.bootstrap) for kind in (ConfluentGroups, KafkaPythonGroups, AioGroups)]
    return {client.name: client for client in [*made, JavaGroups(cluster.bootstrap, java)]}


@pytest.fixture
def group():
    return f"group-{next(numbers)}"


@pytest.fixture(scope="module")
def living(cluster, tmp_path_factory):
    """A group of two static members, each with two partitions: (name, {instance: partitions})."""
    books, folder = {}, str(tmp_path_factory.mktemp("living"))
    processes = [
        Process("confluent", name, cluster.bootstrap, [
            {"group": "living", "assignor": "roundrobin", "topics": [TOPIC], "instance": name}], books, folder)
        for name in ("one", "two")]
    book = books["living"]
    try:
        wait_until("both have partitions", lambda: book.is_shared({"one", "two"}, [(TOPIC, p) for p in range(4)]))
        yield "living", {member: set(owned) for member, owned in book.owners.items()}
    finally:
        for process in processes:
            process.end()


def coordinator(cluster, group):
    def find():
        with cluster.any_node().connect() as connection:
            error, node = find_coordinators(connection, [group])[group]
        assert error == 0, f"FindCoordinator: error {error}"
        return cluster[node]
    return wait_until(f"{group} has a coordinator", find)


def refused(work, *arguments):
    with pytest.raises(GroupError) as caught:
        work(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("name", CLIENTS)
def test_what_a_simple_consumer_commits_all_others_see(clients, group, name):
    plain = f"{group}-plain"
    clients[name].commit(plain, PLAIN)
    clients[name].commit(group, OFFSETS)
    for client in clients.values():
        assert client.groups()[plain] in (None, "empty"), client.name
        verify_seen(client, plain, PLAIN)
        if client.name != "confluent":
            verify_seen(client, group, as_written(name, OFFSETS))


def verify_seen(client, group, offsets):
    # aiokafka tells no metadata to its consumer.
    wanted = offsets if client.name != "aiokafka" else {p: (offset, None) for p, (offset, _) in offsets.items()}
    assert client.committed(group, [(TOPIC, p) for p in range(4)]) == wanted, client.name
    assert client.offsets(group) == offsets, client.name


@pytest.mark.parametrize("name", ADMINS)
def test_offsets_are_altered_of_a_group_at_rest(clients, group, name):
    clients[name].alter(group, OFFSETS)
    clients[name].alter(group, {(TOPIC, 2): (7, "back")})
    for client in clients.values():
        if client.name != "confluent":
            verify_seen(client, group, as_written(name, {**OFFSETS, (TOPIC, 2): (7, "back")}))
    clients[name].alter(group, {(TOPIC, 0): (1, ""), (TOPIC, 2): (2, "")})
    assert clients["confluent"].offsets(group) == {(TOPIC, 0): (1, ""), (TOPIC, 2): (2, "")}


@pytest.mark.parametrize("name", CLIENTS)
def test_offsets_of_an_unknown_group_are_none(clients, name):
    assert {p: row for p, row in clients[name].offsets("never-heard-of").items() if row[0] >= 0} == {}


@pytest.mark.parametrize("name", ADMINS)
def test_a_living_group_is_described(cluster, clients, living, name):
    group, owners = living
    state, assignor, node, members = clients[name].describe(group)
    assert (state, assignor, members) == ("stable", "roundrobin", owners)
    assert node in (None, coordinator(cluster, group).id)
    assert clients[name].groups()[group] == "stable"


@pytest.mark.parametrize("name", ADMINS)
def test_a_living_group_is_not_changed_from_outside(clients, living, name):
    group, _ = living
    assert refused(clients[name].delete, group) == "NON_EMPTY_GROUP"
    assert refused(clients[name].alter, group, OFFSETS) == "UNKNOWN_MEMBER_ID"
    if clients[name].delete_offset:
        assert refused(clients[name].delete_offset, group, (TOPIC, 0)) == "GROUP_SUBSCRIBED_TO_TOPIC"
    assert clients[name].groups()[group] == "stable"


@pytest.mark.parametrize("name", ["kafka-python", "java"])
def test_offsets_are_deleted(clients, group, name):
    clients[name].commit(group, PLAIN)
    clients[name].delete_offset(group, (TOPIC, 0))
    assert {client.name: client.offsets(group) for client in clients.values()} == dict.fromkeys(
        clients, {(TOPIC, 2): PLAIN[TOPIC, 2]})


@pytest.mark.parametrize("name", ADMINS)
def test_groups_are_deleted(clients, group, name):
    clients[name].commit(group, PLAIN)
    assert group in clients[name].groups()
    clients[name].delete(group)
    for client in clients.values():
        assert group not in client.groups(), client.name
        assert {p: row for p, row in client.offsets(group).items() if row[0] >= 0} == {}, client.name
    assert refused(clients[name].delete, group) == "GROUP_ID_NOT_FOUND"


def test_deleted_and_altered_outlast_the_coordinator(cluster, clients):
    """A new coordinator knows of tombstones as well."""
    java = clients["java"]
    java.commit("kept", OFFSETS)
    java.delete_offset("kept", (TOPIC, 0))
    java.commit("dropped", OFFSETS)
    java.delete("dropped")
    for group, wanted in {"kept": {(TOPIC, 2): (*OFFSETS[TOPIC, 2], 0)}, "dropped": {}}.items():
        node = coordinator(cluster, group)
        node.kill()
        other = wait_until("another coordinator", lambda: next(iter(
            {coordinator(cluster, group)} - {node}), None))

        def loaded():
            with other.connect() as connection:
                error, offsets = fetch_offsets(connection, [group])[group]
            assert error == 0, f"OffsetFetch: error {error}"
            return [offsets]
        assert wait_until("it has loaded", loaded) == [wanted]
        node.start()
        cluster.wait_ready()
        # With fewer in sync than min.insync.replicas commits are refused, and the next test has one that must not be.
        cluster.wait_isr_full("__consumer_offsets")


def test_the_topic_of_offsets(cluster, java):
    coordinator(cluster, "any")
    assert JavaGroups(cluster.bootstrap, java).ask("topic", "__consumer_offsets") == ["true", "50", "3"]
    for partition in cluster.partitions("__consumer_offsets").values():
        assert len(set(partition.replicas)) == 3
    assert JavaGroups(cluster.bootstrap, java).ask("topic", TOPIC)[0] == "false"


def test_clients_do_not_write_offsets_as_records(cluster):
    coordinator(cluster, "any")
    with cluster.leader("__consumer_offsets", 0).connect() as connection:
        # 17: INVALID_TOPIC_EXCEPTION, as Kafka answers a client that is not the coordinator.
        assert wire.produce(connection, "__consumer_offsets", 0, batch([b"forged"]))[0] == 17


def test_commits_that_are_refused(cluster, living):
    group, _ = living
    with coordinator(cluster, group).connect() as connection:
        assert commit_offset(connection, group, TOPIC, 0, 1) == 25
        assert commit_offset(connection, group, TOPIC, 0, 1, member="nobody", generation=1) == 25
        assert fetch_offsets(connection, [group])[group][0] == 0
    elsewhere = next(node for node in cluster.nodes.values() if node is not coordinator(cluster, group))
    with elsewhere.connect() as connection:
        assert commit_offset(connection, group, TOPIC, 0, 1) == 16
        assert fetch_offsets(connection, [group])[group][0] == 16
    node = coordinator(cluster, "at-rest")
    with node.connect() as connection:
        assert commit_offset(connection, "at-rest", "no-such-topic", 0, 1) == 3
        assert commit_offset(connection, "at-rest", TOPIC, 99, 1) == 3
        # 12: OFFSET_METADATA_TOO_LARGE, beyond offset.metadata.max.bytes.
        assert commit_offset(connection, "at-rest", TOPIC, 0, 1, metadata="x" * 4097) == 12
        assert commit_offset(connection, "at-rest", TOPIC, 0, 1, metadata="x" * 4096) == 0
