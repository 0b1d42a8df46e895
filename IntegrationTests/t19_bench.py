# martlet bench: what it prints, as a table and as JSON, that its counts are true, and that it leaves nothing behind.

import json
import os
import re
import signal
import subprocess

import pytest

import cluster as nodes
from background import Background
from commands import Martlet
from conditions import wait_until


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, timing_scale=4)


@pytest.fixture
def martlet(cluster):
    return Martlet(cluster.bootstrap, cluster.folder)


def topics(martlet):
    return martlet.text("topics", "list", "--names").split()


def test_the_first_benchmark_writes_and_reads(martlet):
    table = martlet.text("bench", "--records", "20000", "--quiet").splitlines()
    assert [line.split()[0] for line in table[1:3]] == ["produce", "consume"] and "20,000" in table[1], table
    found = martlet.json("bench", "--records", "20000", "--quiet")
    assert [result["name"] for result in found] == ["produce", "consume"]
    for result in found:
        assert result["records"] == 20_000
        assert result["bytes"] == 20_000_000
        assert result["seconds"] > 0
        assert result["recordsPerSecond"] == pytest.approx(20_000 / result["seconds"], rel=0.01)
        # All three nodes run here, so their CPU time is known.
        assert result["nodesMeasured"] == 3
        # The kernel counts in hundredths of a second, and reading takes the nodes less than one.
        assert result["nodeCpuSecondsPerGB"] >= 0
    assert found[0]["nodeCpuSecondsPerGB"] > 0
    times = found[0]["latencyMs"]
    assert 0 < times["p50"] <= times["p99"] <= times["p999"] <= times["max"]
    wait_until("the topics of the benchmark are gone", lambda: not topics(martlet))


def test_the_table_fits_a_terminal(martlet):
    screen = martlet.screen("bench", "produce", "--records", "30000", "--partitions", "3", "--acks", "all")
    screen.assert_fits()
    assert "CPU s/GB" in screen.text and "30,000" in screen.text


def test_a_topic_that_is_named_is_used_and_kept(martlet):
    martlet.run("topics", "create", "kept", "--partitions", "2")
    written = martlet.json("bench", "produce", "--topic", "kept", "--records", "5000", "--size", "100", "--quiet",
                           "--compression", "lz4")
    assert written[0]["records"] == 5_000 and written[0]["bytes"] == 500_000
    read = martlet.json("bench", "consume", "--topic", "kept", "--quiet")
    assert read[0]["records"] == 5_000
    assert "kept" in topics(martlet)
    martlet.run("topics", "delete", "kept")


def test_consume_ends_at_the_last_record(martlet):
    martlet.run("topics", "create", "few", "--partitions", "2")
    assert "few is empty" in martlet.complaint("bench", "consume", "--topic", "few", "--records", "5", "--quiet")
    martlet.run("produce", "few", stdin=b"1\n2\n3\n")
    done = martlet.run("bench", "consume", "--topic", "few", "--records", "10", "--quiet", "--json")
    assert json.loads(done.stdout)[0]["records"] == 3 and b"few holds only 3 records" in done.stderr
    assert martlet.json("bench", "consume", "--topic", "few", "--records", "2", "--quiet")[0]["records"] == 2
    martlet.run("topics", "delete", "few")


def test_ctrl_c_says_that_it_was_cut_and_leaves_nothing(martlet):
    arguments = ["bench", "produce", "--records", "1000000", "--rate", "2000", "--size", "100"]
    for options in ([], ["--json"]):
        with Background(martlet.bootstrap, martlet.folder, *arguments, *options) as command:
            wait_until("it is under way", lambda: "records/s" in command.said())
            command.interrupt()
            said = command.ended(code=1)
            assert "cut short by Ctrl-C: produce had done" in said, said
            output = b"".join(command.lines).decode()
        if options:
            [result] = json.loads(output)
            assert result["cut"] is True and 0 < result["records"] < 1_000_000
        else:
            assert "produce (cut)" in output
    wait_until("the topics of the benchmark are gone", lambda: not topics(martlet))


def test_ctrl_c_ends_what_waits_for_nodes_that_stand_still(new_cluster):
    still = new_cluster(count=3, timing_scale=4)
    still.start()
    arguments = ["bench", "produce", "--records", "1000000", "--rate", "500"]
    with Background(still.bootstrap, still.folder, *arguments) as command:
        wait_until("it is under way", lambda: "records/s" in command.said())
        still[1].pause()
        still[2].pause()
        command.interrupt()
        said = command.ended(code=1)
        assert "in doubt" in said and "martlet topics delete martlet-bench" in said, said
    for number in (1, 2):
        still[number].resume()


def test_reading_is_not_measured_before_all_can_be_read(new_cluster):
    """A follower that stands still holds the high watermark back; the benchmark waits for it, and says so."""
    slow = new_cluster(count=3, timing_scale=40)
    slow.start()
    leader = slow.controller()
    follower = leader % 3 + 1
    slow.create_topic("held", [[leader, follower]])
    slow.wait_isr_full("held")
    slow[follower].pause()
    arguments = ["bench", "--topic", "held", "--records", "1000", "--json"]
    with Background(slow.bootstrap, slow.folder, *arguments) as command:
        wait_until("it waits", lambda: "of 1000 records have reached all replicas in sync" in command.said())
        slow[follower].resume()
        command.ended()
        produced, consumed = json.loads(b"".join(command.lines))
        assert (produced["records"], consumed["records"]) == (1_000, 1_000)


def test_progress_is_a_line_each_second(martlet):
    done = martlet.run("bench", "produce", "--records", "3000", "--rate", "1500", "--size", "100")
    lines = [line for line in done.stderr.decode().splitlines() if "records/s" in line]
    assert lines and all(re.match(r"\d+ s  [\d,]+ records/s  [\d.]+ MB/s", line) for line in lines), done.stderr


def test_latency_to_the_acknowledgement_and_to_the_consumer(martlet):
    acknowledged, consumed = martlet.json("bench", "latency", "--rate", "500", "--seconds", "2", "--quiet")
    assert acknowledged["name"] == "ack" and consumed["name"] == "consume"
    assert acknowledged["records"] == consumed["records"] == 1_000
    for result in (acknowledged, consumed):
        assert 0 < result["latencyMs"]["p50"] <= result["latencyMs"]["max"]


def test_failover_kills_the_leader_and_waits_for_it_to_return(martlet, cluster):
    # Started by a script, as by `make start`: the node is a child of nobody here, and is ended by its pid.
    pids = os.path.join(cluster.folder, "restarted")
    script = os.path.join(cluster.folder, "restart")
    with open(script, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\nsetsid {nodes.BINARY} start --config {cluster.config} --node $1 "
                   f">> {cluster.folder}/node-$1.log 2>&1 < /dev/null &\necho $1 $! >> {pids}\n")
    os.chmod(script, 0o755)
    try:
        found = martlet.json("bench", "failover", "--seconds", "3", "--rounds", "2", "--kill", "--quiet",
                             "--restart", f"{script} {{node}}")
        assert [round["node"] in (1, 2, 3) for round in found["rounds"]] == [True, True]
        assert all(round["acknowledged"] > 0 for round in found["rounds"])
        assert found["longestGapMs"] == max(round["longestGapMs"] for round in found["rounds"])
        # It really was a leader that died.
        for round in found["rounds"]:
            assert cluster[round["node"]].process.poll() == -signal.SIGKILL
    finally:
        for line in open(pids, encoding="utf-8") if os.path.exists(pids) else []:
            subprocess.run(["kill", "-9", line.split()[1]], check=False)


def test_wrong_usage_and_failures(martlet):
    martlet.run("bench", "produce", "--records", "0", code=2)
    martlet.run("bench", "failover", "--kill", "--pause", code=2)
    assert "no-such" in martlet.complaint("bench", "consume", "--topic", "no-such", "--quiet")
    port = nodes.free_port()
    assert str(port) in martlet.complaint("bench", "--quiet", bootstrap=f"127.0.0.1:{port}")
