# martlet doctor: against a cluster that is well, and against the ways in which one is not.

import socket
import threading

import pytest

import cluster as nodes
from commands import Martlet
from conditions import wait_until


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, timing_scale=4)


@pytest.fixture(scope="module")
def martlet(cluster):
    return Martlet(cluster.bootstrap, cluster.folder)


def no_scratch_topic(martlet):
    gone = lambda: not any(name.startswith("martlet-doctor") for name in
                           martlet.text("topics", "list", "--names").splitlines())
    return wait_until("the scratch topic is gone", gone)


def checks(document):
    return {check["name"]: check for check in document["checks"]}


def test_a_cluster_that_is_well(martlet, cluster):
    text = martlet.text("doctor")
    assert text.splitlines()[-1] == "all is well" and "failed" not in text and "warning" not in text
    for step in ("bootstrap", "metadata", "controller", "health", "create topic", "produce", "fetch", "delete topic"):
        assert step in text, text
    assert all(f"node {node.id} at 127.0.0.1:{node.address[1]}" in text for node in cluster.nodes.values())
    no_scratch_topic(martlet)


def test_as_json_every_step_has_its_time(martlet):
    document = martlet.json("doctor")
    assert document["ok"] is True and document["firstFailure"] is None
    assert all(check["outcome"] == "ok" and check["milliseconds"] > 0 for check in document["checks"])
    assert "fetch" in checks(document)
    no_scratch_topic(martlet)


def test_on_a_terminal(martlet):
    screen = martlet.screen("doctor")
    screen.assert_fits()
    assert screen.is_coloured and "all is well" in screen.text
    # Every word is whole, and every step begins in the same column.
    steps = [line for line in screen.lines if line.startswith("ok ")]
    assert steps[0].startswith("ok      bootstrap 127.0.0.1:"), screen.text
    for step in ("metadata", "controller", "health", "create topic", "produce", "fetch", "delete topic"):
        assert any(line.startswith(f"ok      {step} (") for line in steps), screen.text
    assert all(line.startswith(("ok      ", "        ", "all is well")) for line in screen.lines), screen.text


def test_read_only_writes_nothing(martlet):
    document = martlet.json("doctor", "--read-only")
    assert document["ok"] is True and checks(document)["write and read"]["outcome"] == "skipped"


def test_a_closed_port(martlet):
    address = f"127.0.0.1:{nodes.free_port()}"
    said = martlet.complaint("doctor", bootstrap=address)
    assert f"bootstrap {address}" in said and "nothing listens there" in said and "start the node" in said
    document = martlet.json("doctor", bootstrap=address, code=1)
    assert document["firstFailure"] == f"bootstrap {address}" and len(document["checks"]) == 1


def test_one_closed_port_among_good_ones_is_a_warning(martlet, cluster):
    closed = f"127.0.0.1:{nodes.free_port()}"
    document = martlet.json("doctor", "--read-only", bootstrap=f"{closed},{cluster.bootstrap}")
    assert document["ok"] is True and checks(document)[f"bootstrap {closed}"]["outcome"] == "warning"


def test_a_name_that_does_not_resolve(martlet):
    said = martlet.complaint("doctor", bootstrap="no-such-host.invalid:9092")
    assert "no-such-host.invalid does not resolve" in said and "DNS" in said


def test_a_port_that_speaks_something_else(martlet):
    with socket.create_server(("127.0.0.1", nodes.free_port())) as server:
        def greet():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP ready\r\n" * 20)
                connection.recv(4096)
        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        address = "127.0.0.1:%d" % server.getsockname()[1]
        assert "is that a Kafka port" in martlet.complaint("doctor", bootstrap=address)
        thread.join(10)


def test_an_advertised_address_that_leads_nowhere(new_cluster):
    """The classic: the bootstrap address answers, and what the node tells its clients does not."""
    broken = new_cluster(count=1)
    closed = f"127.0.0.1:{nodes.free_port()}"
    broken.advertise(1, closed)
    broken[1].start()
    wait_until("the node is registered", lambda: 1 in broken[1].metadata([]).brokers)
    martlet = Martlet(broken.bootstrap, broken.folder)
    said = martlet.complaint("doctor")
    assert f"node 1 at {closed}" in said and "it advertises this address" in said and "nothing listens there" in said
    assert "set advertised of node 1 in cluster.yaml" in said and "advertised.listeners" in said
    document = martlet.json("doctor", code=1)
    assert document["firstFailure"] == f"node 1 at {closed}"
    assert checks(document)[f"bootstrap {broken.bootstrap}"]["outcome"] == "ok"
    assert checks(document)["write and read"]["outcome"] == "skipped"


def test_an_advertised_address_that_leads_to_another_cluster(new_cluster, cluster):
    lost = new_cluster(count=1)
    elsewhere = f"127.0.0.1:{cluster[1].address[1]}"
    lost.advertise(1, elsewhere)
    lost[1].start()
    wait_until("the node is registered", lambda: 1 in lost[1].metadata([]).brokers)
    said = Martlet(lost.bootstrap, lost.folder).complaint("doctor")
    assert f"node 1 at {elsewhere}" in said and "leads to another cluster" in said


def test_a_cluster_that_has_not_formed(new_cluster):
    """One of three nodes was never started: the others answer, and are no cluster."""
    young = new_cluster(count=3)
    young[1].start()
    young[2].start()
    wait_until("both answer", lambda: all(young[number].metadata([]) is not None for number in (1, 2)))
    martlet = Martlet(young.bootstrap, young.folder)
    said = martlet.complaint("doctor")
    assert "has not formed yet" in said and f"127.0.0.1:{young[3].address[1]} does not answer" in said
    assert "not formed yet" in martlet.run("cluster", "health", code=1).stdout.decode()


def test_a_node_that_is_away(martlet, cluster):
    """Last: the cluster is not well afterwards. What the other nodes can do is done and told all the same."""
    cluster[2].kill()
    wait_until("node 2 is fenced", lambda: martlet.json("cluster", "describe")["nodes"][1]["fenced"])
    document = martlet.json("doctor", code=1)
    assert document["firstFailure"] == "health" and "fenced: 2" in checks(document)["health"]["detail"]
    assert checks(document)["fetch"]["outcome"] == "ok"
    assert "cluster health" in martlet.complaint("doctor")
    no_scratch_topic(martlet)
