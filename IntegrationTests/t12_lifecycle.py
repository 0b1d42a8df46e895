# Starting and stopping: alone without arguments, again with its data, and refusals that say why.

import ctypes
import os
import platform
import re
import shutil
import socket
import time

import confluent_kafka
import pytest

import wire
from batches import batch
from clients import Record
from clients.confluent import ConfluentClient
from clients.kafka_python import KafkaPythonClient
from cluster import Node, free_port
from commands import Martlet
from conditions import wait_until
from workload import read_all, wait_replicas_equal


@pytest.fixture
def alone(tmp_path):
    """alone(port, arguments): a node without a cluster.yaml, in a folder of its own."""
    made = []

    def make(port, *arguments, folder="alone"):
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        made.append(Node(len(made) + 1, ("127.0.0.1", port), str(path), arguments))
        return made[-1]
    yield make
    for node in made:
        if node.is_alive():
            node.kill()


def wait_serving(node):
    def is_serving():
        if not node.is_alive():
            pytest.fail(f"the node ended with {node.process.returncode}:\n{node.tail()}")
        return len(node.metadata([]).brokers) == 1 and node.quorum().leader > 0
    wait_until("the node serves", is_serving)


def refused(node):
    """Starts a node that must not start; returns the one sentence it leaves with."""
    since = node.log_size() if os.path.exists(node.log_path) else 0
    node.start()
    code = node.ended(20)
    said = node.log(since).strip().splitlines()
    assert code == 1, f"exit {code}: {said}"
    # What only the other nodes can tell comes as the last line of a log that has begun.
    sentences = {line.split(mark, 1)[1] for line in said for mark in ("Error: ", "cannot go on: ") if mark in line}
    assert len(sentences) == 1, said
    return sentences.pop()


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def test_start_alone_forms_a_cluster_of_one_and_keeps_its_data(alone):
    port = 9092 if is_free(9092) else free_port()
    arguments = [] if port == 9092 else ["--port", str(port)]
    node = alone(port, *arguments)
    node.start()
    wait_serving(node)
    assert "ready in" in node.log() and "fsynced" in node.log() and f"127.0.0.1:{port}" in node.log()
    assert os.path.exists(os.path.join(node.folder, "martlet-data", "meta.properties"))
    client = ConfluentClient(f"127.0.0.1:{port}")
    client.create_topic("kept", 2)
    assert client.produce("kept", 1, [Record(b"one"), Record(b"two")], "zstd", "all", True) == [0, 1]
    for number in range(3):
        assert node.stop() == 0, node.tail()
        # An orderly stop leaves its mark; the next start takes it away.
        assert os.path.exists(os.path.join(node.folder, "martlet-data", ".kafka_cleanshutdown"))
        node.start()
        wait_serving(node)
        found = client.consume("kept", [1], 2 + number)[1]
        assert [c.record.value for c in found] == [b"one", b"two"] + [b"more"] * number
        assert client.produce("kept", 1, [Record(b"more")], "none", "all", False) == [2 + number]
    node.kill()
    node.start()
    wait_serving(node)
    assert len(client.consume("kept", [1], 5)[1]) == 5
    assert node.stop() == 0


def test_port_in_use_is_said(alone):
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        assert str(port) in refused(alone(port, "--port", str(port)))


def test_directory_of_another_node_is_refused(alone):
    port = free_port()
    first = alone(port, "--port", str(port), "--data", "shared")
    first.start()
    wait_serving(first)
    first.stop()
    second = alone(port, "--node", "2")
    with open(os.path.join(second.folder, "cluster.yaml"), "w", encoding="utf-8") as file:
        file.write(f"nodes:\n  - {{id: 1, port: {free_port()}, data: other}}\n  - {{id: 2, port: {port}, data: shared}}\n")
    sentence = refused(second)
    assert "node 1" in sentence and "node 2" in sentence


def test_a_node_that_is_named_is_one_of_the_file_here(alone):
    """It does not form a cluster of its own: without the file there is no such node."""
    port = free_port()
    node = alone(port, "--node", "2")
    node.start()
    assert node.ended(20) == 2 and "cluster.yaml" in node.log() and os.listdir(node.folder) == ["node-1.log"]
    with open(os.path.join(node.folder, "cluster.yaml"), "w", encoding="utf-8") as file:
        file.write(f"nodes:\n  - {{id: 1, port: {free_port()}, data: first}}\n  - {{id: 2, port: {port}, data: second}}\n")
    node.start()
    wait_until("it waits for the other node of the file", lambda: "waiting for node 1" in node.log())
    node.kill()
    assert os.path.isdir(os.path.join(node.folder, "second"))
    assert not os.path.exists(os.path.join(node.folder, "martlet-data"))
    node.arguments = ("--node", "2", "--port", str(port))
    node.start()
    assert node.ended(20) == 2


def test_directory_in_use_is_refused(alone):
    ports = free_port(), free_port()
    first = alone(ports[0], "--port", str(ports[0]), "--data", "shared")
    first.start()
    wait_serving(first)
    sentence = refused(alone(ports[1], "--port", str(ports[1]), "--data", "shared"))
    assert str(first.process.pid) in sentence
    wait_serving(first)


@pytest.mark.parametrize("file, change, words", [
    ("__cluster_metadata-0/quorum-state", lambda text: text.replace('"votedId":1', '"votedId":2'), "is damaged"),
    ("__cluster_metadata-0/quorum-state", None, "is gone"),
    ("meta.properties", lambda text: text.replace("node.id=1", "node.id=3"), "is damaged"),
    ("log-start-offset-checkpoint", lambda text: text.replace("kept 0 0", "kept 0 1"), "is damaged"),
])
def test_a_damaged_or_missing_promise_is_refused_in_one_sentence(alone, file, change, words):
    """And with the file as it was the node serves again: nothing was changed by the refusal."""
    port = free_port()
    node = alone(port, "--port", str(port), "--data", "promises")
    node.start()
    wait_serving(node)
    ConfluentClient(f"127.0.0.1:{port}").create_topic("kept", 1)
    node.stop()
    path = os.path.join(node.folder, "promises", file)
    with open(path, encoding="utf-8") as handle:
        text = handle.read()
    if change:
        assert change(text) != text
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(change(text))
    else:
        os.remove(path)
    sentence = refused(node)
    assert file in sentence and words in sentence and "move" in sentence
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)
    node.start()
    wait_serving(node)
    node.stop()


def test_directory_of_another_cluster_is_refused(new_cluster):
    cluster, other = new_cluster(count=3), new_cluster(count=3)
    cluster.start()
    other.start()
    other[2].stop()
    stranger = cluster[2]
    stranger.stop()
    stranger.wipe()
    shutil.copytree(other[2].data, stranger.data)
    os.remove(os.path.join(stranger.data, ".lock"))
    sentence = refused(stranger)
    assert "cluster" in sentence
    # That the node stopped in order may be news to this one.
    wait_until("node 2 is out of service", lambda: sorted(cluster[1].metadata([]).brokers) == [1, 3])


@pytest.mark.parametrize("wrong, words", [
    ("nodes:\n  - {id: 1, port: 20001, data: d, prot: 3}\n", [":2", "prot"]),
    ("nodes:\n  - {id: 1, port: 20001, data: d}\ndefaults:\n  num.partition: 3\n", [":4", "num.partition"]),
    ("nodes:\n  - {id: 1, port: 99999, data: d}\n", [":2", "port"]),
    ("nodes: [\n", ["YAML"]),
])
def test_wrong_file_names_line_and_key(alone, wrong, words):
    node = alone(20_001, "--config", "wrong.yaml", "--node", "1")
    with open(os.path.join(node.folder, "wrong.yaml"), "w", encoding="utf-8") as file:
        file.write(wrong)
    sentence = refused(node)
    assert "wrong.yaml" in sentence and all(word in sentence for word in words), sentence


def test_three_nodes_stop_at_once_and_start_again(new_cluster):
    cluster = new_cluster(count=3)
    cluster.start()
    cluster.create_topic("kept", partitions=3)
    client = ConfluentClient(cluster.bootstrap)
    for partition in range(3):
        assert client.produce("kept", partition, [Record(b"kept")] * 10, "none", "all", True) == list(range(10))
    for node in cluster.nodes.values():
        node.send(15)
    for node in cluster.nodes.values():
        assert node.ended() == 0, node.tail()
        assert "cut short" not in node.log()
        assert os.path.exists(os.path.join(node.data, ".kafka_cleanshutdown"))
    cluster.start()
    cluster.wait_isr_full("kept")
    assert [len(rows) for rows in read_all(cluster, "kept").values()] == [10, 10, 10]
    wait_replicas_equal(cluster, "kept")


def test_a_stopping_leader_hands_over(new_cluster):
    """After an orderly stop another in-sync replica leads, and a produce meets no error it must report."""
    cluster = new_cluster(count=3)
    cluster.start()
    controller = cluster.controller()
    leader = next(number for number in cluster.nodes if number != controller)
    cluster.create_topic("handed", [[leader] + [n for n in cluster.nodes if n != leader]])
    client = ConfluentClient(cluster.bootstrap)
    assert client.produce("handed", 0, [Record(b"x")], "none", "all", True) == [0]
    cluster.wait_isr_full("handed")
    assert cluster[leader].stop() == 0
    wait_until("another leads", lambda: cluster.partitions("handed")[0].leader not in (leader, -1))
    assert leader not in cluster.partitions("handed")[0].isr
    assert client.produce("handed", 0, [Record(b"y")], "none", "all", True) == [1]


@pytest.mark.parametrize("left", [[], ["is unknown"]], ids=["free", "a stranger's directory"])
def test_the_longest_name_is_used_again_and_again(new_cluster, left):
    """A deleted partition's directory gets a longer name, which may have no more than 255 bytes."""
    cluster = new_cluster(count=1)
    cluster.start()
    name, folder = "n" * 249, os.path.join(cluster[1].data, "n" * 249 + "-0")
    for _ in left:
        # What is there and says not whose it is stays, under another name.
        os.mkdir(folder)
        with open(os.path.join(folder, "kept"), "wb"):
            pass
    client, martlet = ConfluentClient(cluster.bootstrap), Martlet(cluster.bootstrap, cluster.folder)
    for number in range(3):
        cluster.create_topic(name, partitions=1)
        assert client.produce(name, 0, [Record(b"%d" % number)], "none", "all", True) == [0]
        martlet.run("topics", "delete", name)
        wait_until("its files are gone", lambda: not os.path.exists(folder))
    wait_until("nothing is left of them", lambda: not any(
        entry.endswith("-delete") for entry in os.listdir(cluster[1].data)))
    strays = [entry for entry in os.listdir(cluster[1].data) if entry.endswith("-stray")]
    assert len(strays) == len(left) and all(len(entry) <= 255 and "-0.unknown-1-stray" in entry for entry in strays)
    assert all(os.listdir(os.path.join(cluster[1].data, entry)) == ["kept"] for entry in strays)
    cluster.create_topic(name, partitions=1)
    assert client.produce(name, 0, [Record(b"last")], "none", "all", True) == [0]
    cluster[1].kill()
    cluster.start()
    assert [c.record.value for c in client.consume(name, [0], 1)[0]] == [b"last"]


def test_quorum_as_kafka_python_sees_it(new_cluster):
    cluster = new_cluster(count=3)
    cluster.start()
    seen = KafkaPythonClient(cluster.bootstrap).quorum()
    partition = seen["topics"][0]["partitions"][0]
    assert partition["leader_id"] == cluster.controller()
    assert sorted(voter["replica_id"] for voter in partition["current_voters"]) == [1, 2, 3]
    assert partition["high_watermark"] > 0


def test_a_group_on_one_node_reads_and_finds_its_place_again(new_cluster):
    """The first question makes __consumer_offsets; what was committed outlives a kill of the only node."""
    cluster = new_cluster(count=1)
    cluster.start()
    cluster.create_topic("lonely", partitions=1)

    def read(count):
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": cluster.bootstrap, "group.id": "reads", "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "session.timeout.ms": 6_000, "log_level": 0})
        consumer.subscribe(["lonely"])
        values = []

        def is_read():
            message = consumer.poll(0.1)
            if message is not None and not message.error():
                values.append(message.value())
            return len(values) == count
        wait_until(f"{count} records are read", is_read)
        consumer.commit(asynchronous=False)
        consumer.close()
        return values

    with cluster[1].connect() as connection:
        assert wire.produce(connection, "lonely", 0, batch([b"x", b"y"]))[0] == 0
    assert read(2) == [b"x", b"y"]
    cluster[1].kill()
    cluster[1].start()
    cluster.wait_ready()
    with cluster[1].connect() as connection:
        assert wire.produce(connection, "lonely", 0, batch([b"z"]))[0] == 0
    assert read(1) == [b"z"]


def turn_ns(thread):
    """How long a thread's turns on a processor are; 0 where the kernel does not say (before Linux 6.12)."""
    sched_getattr = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    attributes = (ctypes.c_uint64 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(sched_getattr, thread, attributes, ctypes.sizeof(attributes), 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return attributes[3]


def test_each_thread_of_a_node_has_short_turns(alone):
    """decision 0031: one thread with long turns in the chain of an acknowledgement would make it wait for the others."""
    port = free_port()
    node = alone(port, "--port", str(port))
    node.start()
    wait_serving(node)
    tasks = f"/proc/{node.process.pid}/task"
    turns = {int(thread): turn_ns(int(thread)) for thread in os.listdir(tasks)}
    assert len(turns) > 1
    version = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if version >= (6, 12):
        assert set(turns.values()) == {100_000}, turns
