# The martlet command: topics, produce and consume through a pipe, the cluster's state, and how it says no.

import os
import subprocess

import pytest

import cluster as nodes
from conditions import PATIENCE_SECONDS, wait_until


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, timing_scale=4)


@pytest.fixture
def martlet(cluster):
    def run(*arguments, stdin=b"", code=0, bootstrap=cluster.bootstrap):
        environment = {**os.environ, "MARTLET_BOOTSTRAP": bootstrap}
        done = subprocess.run([nodes.BINARY, *arguments], input=stdin, capture_output=True, env=environment,
                              cwd=cluster.folder, timeout=PATIENCE_SECONDS, check=False)
        said = f"martlet {' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert done.returncode == code, said
        return done
    return run


def test_topic_from_creation_to_deletion(martlet):
    made = martlet("topics", "create", "orders", "--partitions", "3", "--replication-factor", "3").stdout.decode()
    assert "orders" in made
    assert "orders" in martlet("topics", "list", "--names").stdout.decode().split("\n")
    described = martlet("topics", "describe", "orders").stdout.decode()
    rows = [line.split() for line in described.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    assert [row[0] for row in rows] == ["0", "1", "2"], described
    assert all(sorted(row[3].split(",")) == ["1", "2", "3"] for row in rows), described
    martlet("topics", "delete", "orders")
    wait_until("the topic is gone", lambda: "orders" not in martlet("topics", "list", "--names").stdout.decode().split("\n"))
    again = martlet("topics", "create", "orders", "--partitions", "1").stdout.decode()
    assert "orders" in again


def test_a_created_topic_that_exists_is_refused_with_a_sentence(martlet):
    martlet("topics", "create", "twice", "--partitions", "1")
    said = martlet("topics", "create", "twice", "--partitions", "1", code=1).stderr.decode()
    assert "twice" in said and "exist" in said.lower() and len(said.strip().splitlines()) == 1


def test_it_says_its_version(martlet):
    assert martlet("--version").stdout.decode().startswith("martlet 0.")


def test_lines_through_a_pipe(martlet):
    martlet("topics", "create", "lines", "--partitions", "1")
    lines = b"".join(b"%d grue\xc3\x9fe\n" % number for number in range(1000))
    martlet("produce", "lines", stdin=lines)
    assert martlet("consume", "lines", "--from-beginning", "--count", "1000").stdout == lines


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_keys_and_codecs(martlet, codec):
    topic = f"keys-{codec}"
    martlet("topics", "create", topic, "--partitions", "4")
    lines = [b"key-%d:value %d" % (number % 10, number) for number in range(200)]
    martlet("produce", topic, "--key-separator", ":", "--compression", codec, stdin=b"\n".join(lines) + b"\n")
    output = martlet("consume", topic, "--from-beginning", "--count", "200", "--key-separator", ":").stdout
    assert sorted(output.splitlines()) == sorted(lines)
    # Records of one key stay in one partition, in order.
    for key in {line.split(b":")[0] + b":" for line in lines}:
        read = [line for line in output.splitlines() if line.startswith(key)]
        assert read == [line for line in lines if line.startswith(key)]


def test_cluster_says_who_leads_and_that_all_is_well(martlet, cluster):
    said = martlet("cluster").stdout.decode()
    assert f"controller node {cluster.controller()}" in said
    assert "healthy" in said and "not healthy" not in said
    assert all(f"127.0.0.1:{node.address[1]}" in said for node in cluster.nodes.values())


def test_a_cluster_that_is_not_there_is_one_sentence(martlet):
    port = nodes.free_port()
    said = martlet("topics", "list", "--patience", "0", bootstrap=f"127.0.0.1:{port}", code=1).stderr.decode()
    assert str(port) in said and len(said.strip().splitlines()) == 1


def test_wrong_usage_is_exit_code_2(martlet):
    martlet("topics", "create", "no/slash", code=2)
    martlet("produce", code=2)
    martlet("no-such-command", code=2)
