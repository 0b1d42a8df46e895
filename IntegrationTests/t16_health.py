# martlet cluster health: a verdict by exit code, through the death and return of nodes.

import pytest

from commands import Martlet
from conditions import wait_until


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, timing_scale=4)


@pytest.fixture(scope="module")
def martlet(cluster):
    runner = Martlet(cluster.bootstrap, cluster.folder)
    runner.run("topics", "create", "orders", "--partitions", "6", "--replication-factor", "3")
    runner.run("topics", "create", "strict", "--replication-factor", "3", "--config", "min.insync.replicas=3")
    runner.run("topics", "create", "alone-1", "--partitions", "3", "--replication-factor", "1")
    cluster.wait_isr_full("orders")
    return runner


def health(martlet, code):
    return martlet.json("cluster", "health", code=code)


def test_a_healthy_cluster(martlet):
    text = martlet.text("cluster", "health")
    assert text.splitlines()[-1] == "healthy" and "nodes 3 of 3" in text
    document = health(martlet, 0)
    assert document["healthy"] and document["findings"] == [] and document["partitions"] == 10
    assert martlet.text("cluster", "health", "--quiet") == ""
    screen = martlet.screen("cluster", "health")
    screen.assert_fits()
    assert screen.is_coloured


def test_a_killed_node(martlet, cluster):
    cluster[2].kill()
    wait_until("node 2 is fenced", lambda: martlet.json("cluster", "describe")["nodes"][1]["fenced"])
    document = health(martlet, 1)
    assert not document["healthy"] and document["fencedNodes"] == [2]
    # Every partition of orders and strict has lost a replica; of alone-1 each node has one partition.
    assert (document["offline"], document["belowMinIsr"], document["underReplicated"]) == (1, 2, 8), document
    # The worst first.
    assert "offline" in document["findings"][0]["troubles"] and document["findings"][0]["topic"] == "alone-1"
    strict = next(finding for finding in document["findings"] if finding["topic"] == "strict")
    assert "below min ISR" in strict["troubles"] and strict["minInSyncReplicas"] == 3 and 2 not in strict["isr"]
    named = {(finding["topic"], finding["partition"]) for finding in document["findings"]}
    assert {("orders", partition) for partition in range(6)} | {("strict", 0)} <= named
    said = martlet.run("cluster", "health", code=1)
    assert said.stderr == b""
    text = said.stdout.decode()
    assert "not healthy: fenced: node 2" in text.splitlines()[-1] and "under-replicated" in text
    assert text.count("orders") == 6
    assert "and 5 partitions more" in martlet.run("cluster", "health", "--limit", "3", code=1).stdout.decode()
    assert "not healthy" in martlet.text("cluster")
    assert "under-replicated" in martlet.text("topics", "list")


def test_its_screen_fits(martlet):
    screen = martlet.screen("cluster", "health", code=1)
    assert screen.is_coloured
    rows = [line for line in screen.lines if line.startswith(("orders", "strict", "alone", "topic"))]
    assert rows and all(len(row) <= 80 for row in rows)


def test_the_node_comes_back(martlet, cluster):
    """First its replicas, and later what it led before: until then that is a warning, and a failure with --strict."""
    cluster[2].start()
    cluster.wait_ready()
    away = 0

    def is_balanced():
        nonlocal away
        document = martlet.json("cluster", "health", code=0)
        assert document["healthy"] and all(
            finding["troubles"] == ["leader away"] for finding in document["findings"])
        away = max(away, document["leadersAway"])
        # Leaders may return between the two calls, but not leave again.
        martlet.run("cluster", "health", "--strict", "--quiet", code=0)
        return True
    wait_until("every leader is back at its first replica", lambda: quietly(is_balanced))
    assert away > 0, "no leader was seen away"
    assert martlet.text("cluster", "health", "--strict").splitlines()[-1] == "healthy"


def quietly(probe):
    try:
        return probe()
    except AssertionError:
        return None


def test_no_controller(martlet, cluster):
    cluster[1].kill()
    cluster[3].kill()
    alone = f"127.0.0.1:{cluster[2].address[1]}"

    def leaderless():
        verdict = martlet.run("cluster", "health", code=1, bootstrap=alone).stdout.decode().splitlines()[-1]
        return "not healthy: no controller" in verdict
    wait_until("node 2 knows of no controller", leaderless)
    said = martlet.complaint("cluster", "quorum", bootstrap=alone)
    assert "no leader" in said
    document = martlet.json("cluster", "health", code=1, bootstrap=alone)
    assert [node["id"] for node in document["silentNodes"]] == [1, 3]
    verdict = martlet.run("cluster", "health", code=1, bootstrap=alone).stdout.decode().splitlines()[-1]
    for number in (1, 3):
        words = f"node {number} at 127.0.0.1:{cluster[number].address[1]} (connection refused)"
        assert words in said and words in verdict
