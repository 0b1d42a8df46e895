# The administrative commands, each by what it prints in a pipe and on a terminal, as text and as JSON, and how it says
# no.

import json
import os
import subprocess

import pytest

import cluster as nodes
from commands import Martlet, table_rows
from conditions import wait_until

LONG = "a-topic-with-a-name-so-long-that-no-table-of-eighty-columns-has-room-for-it-beside-its-other-columns"


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, timing_scale=4)


@pytest.fixture(scope="module")
def martlet(cluster):
    runner = Martlet(cluster.bootstrap, cluster.folder)
    runner.run("topics", "create", "standing", "--partitions", "4")
    runner.run("topics", "create", LONG, "--config", "min.insync.replicas=1")
    cluster.wait_isr_full("standing")
    cluster.wait_isr_full(LONG)
    return runner


# Topics


def test_create_says_what_it_made(martlet):
    said = martlet.text("topics", "create", "made", "--partitions", "2", "--replication-factor", "3")
    assert said == "created topic made: partitions 2, replication factor 3\n"
    document = martlet.json("topics", "create", "made-in-json", "--partitions", "2")
    assert document == {"topic": "made-in-json", "created": True, "partitions": 2, "replicationFactor": 3}


def test_create_twice_fails_unless_it_may(martlet):
    martlet.run("topics", "create", "once")
    said = martlet.complaint("topics", "create", "once")
    assert "once exists already" in said and "martlet topics describe once" in said
    assert "exists already" in martlet.text("topics", "create", "once", "--if-not-exists")
    assert martlet.json("topics", "create", "once", "--if-not-exists")["created"] is False


def test_create_passes_on_what_the_cluster_refuses(martlet):
    assert "REPLICATION_FACTOR" in martlet.complaint("topics", "create", "wide", "--replication-factor", "7")
    assert "min.insync.replicas" in martlet.complaint(
        "topics", "create", "odd", "--config", "min.insync.replicas=many")


def test_delete_of_a_missing_topic_fails_unless_it_may(martlet):
    said = martlet.complaint("topics", "delete", "never-made")
    assert "there is no topic never-made" in said and "martlet topics list" in said
    assert "never-made" in martlet.text("topics", "delete", "never-made", "--if-exists")
    martlet.run("topics", "create", "doomed")
    assert martlet.json("topics", "delete", "doomed", "never-made", "--if-exists") == {
        "deleted": ["doomed"], "absent": ["never-made"], "error": None}


def test_what_was_done_before_a_failure_is_said(martlet):
    martlet.run("topics", "create", "doomed-first")
    document = martlet.json("topics", "delete", "doomed-first", "never-made", "standing", code=1)
    assert (document["deleted"], document["absent"]) == (["doomed-first"], ["never-made"])
    assert "there is no topic never-made" in document["error"] and "create" not in document["error"]
    assert "standing" in martlet.text("topics", "list", "--names").split()
    done = martlet.run("topics", "describe", "standing", "never-made", "--json", code=1)
    assert [topic["topic"] for topic in json.loads(done.stdout)] == ["standing"]
    assert b"there is no topic never-made" in done.stderr


def test_a_topic_named_twice_is_described_once(martlet):
    assert len(martlet.json("topics", "describe", "standing", "standing")) == 1


@pytest.mark.parametrize("arguments", [
    ["topics", "describe", "or ders"], ["topics", "delete", "or ders"], ["topics", "configs", "or ders"],
    ["topics", "add-partitions", "or ders", "--add", "1"], ["consume", "or ders"], ["produce", "or ders"]], ids=" ".join)
def test_what_is_no_topic_name_is_wrong_usage(martlet, arguments):
    assert b"is no topic name" in martlet.run(*arguments, code=2).stderr


def test_more_partitions_than_numbers(martlet):
    said = martlet.complaint("topics", "add-partitions", "standing", "--add", "2147483647")
    assert "2147483647 more" in said and "-" not in said.replace("add-partitions", ""), said


def test_list_shows_partitions_and_replication(martlet):
    rows = {row["topic"]: row for row in table_rows(martlet.text("topics", "list"), "topic")}
    assert (rows["standing"]["partitions"], rows["standing"]["replication"]) == ("4", "3")
    # Never cut in a pipe.
    assert LONG in rows
    assert {"standing", LONG} <= set(martlet.text("topics", "list", "--names").splitlines())
    found = {entry["topic"]: entry for entry in martlet.json("topics", "list")}
    assert found["standing"]["partitions"] == 4 and found["standing"]["underReplicated"] == 0


def test_list_on_a_terminal_fits_and_has_colours(martlet):
    screen = martlet.screen("topics", "list")
    screen.assert_fits()
    assert screen.is_coloured and "…" in screen.text and LONG not in screen.text
    plain = martlet.screen("topics", "list", environment={"NO_COLOR": "1"})
    assert not plain.is_coloured and plain.text == screen.text
    assert LONG in martlet.screen("topics", "list", columns=200).text


def test_a_narrow_terminal_has_a_line_for_each_cell(martlet):
    screen = martlet.screen("topics", "describe", "standing", columns=24)
    rows = [line.split() for line in screen.lines]
    assert ["partition", "3"] in rows and ["replicas", "1,2,3"] in [[r[0], ",".join(sorted(r[1].split(",")))]
                                                                   for r in rows if len(r) == 2], screen.text


def test_describe_names_leaders_replicas_and_isr(martlet):
    rows = table_rows(martlet.text("topics", "describe", "standing"), "partition")
    assert [row["partition"] for row in rows] == ["0", "1", "2", "3"]
    for row in rows:
        assert row["leader"] in "123" and sorted(row["replicas"].split(",")) == ["1", "2", "3"]
        assert sorted(row["isr"].split(",")) == ["1", "2", "3"] and int(row["epoch"]) >= 0
    [topic] = martlet.json("topics", "describe", LONG)
    assert topic["configs"] == {"min.insync.replicas": "1"} and len(topic["topicId"]) == 22
    assert sorted(topic["partitions"][0]["isr"]) == [1, 2, 3]
    martlet.screen("topics", "describe", "standing").assert_fits()
    assert "there is no topic never-made" in martlet.complaint("topics", "describe", "never-made")


def test_add_partitions(martlet):
    martlet.run("topics", "create", "growing", "--partitions", "2")
    assert "3 partitions now, before 2" in martlet.text("topics", "add-partitions", "growing", "--add", "1")
    grown = lambda: len(martlet.json("topics", "describe", "growing")[0]["partitions"]) == 3
    wait_until("growing has 3 partitions everywhere", grown)
    assert martlet.json("topics", "add-partitions", "growing", "--total", "5") == {
        "topic": "growing", "before": 3, "partitions": 5}
    assert "can only get more" in martlet.complaint("topics", "add-partitions", "growing", "--total", "2")
    assert "no topic never-made" in martlet.complaint("topics", "add-partitions", "never-made", "--add", "1")
    martlet.run("topics", "add-partitions", "growing", code=2)
    martlet.run("topics", "add-partitions", "growing", "--add", "1", "--total", "9", code=2)


def test_configs_are_shown_with_their_source_and_changed(martlet):
    martlet.run("topics", "create", "configured")

    def configs():
        return {entry["name"]: entry for entry in martlet.json("topics", "configs", "configured")["configs"]}
    assert configs()["min.insync.replicas"]["source"] == "built-in"
    before = configs()["max.message.bytes"]["value"]
    said = martlet.text("topics", "configs", "configured", "--set", "max.message.bytes=5000", "--set", "segment.ms=60000")
    assert "max.message.bytes=5000" in said and "segment.ms=60000" in said
    wait_until("the configs are set", lambda: configs()["max.message.bytes"]["value"] == "5000")
    assert configs()["max.message.bytes"]["source"] == "topic"
    assert "segment.ms" in martlet.text("topics", "configs", "configured", "--own")
    martlet.run("topics", "configs", "configured", "--unset", "max.message.bytes", "--set", "segment.ms=70000")
    wait_until("the default is back", lambda: configs()["max.message.bytes"]["value"] == before)
    screen = martlet.screen("topics", "configs", "configured")
    screen.assert_fits()
    assert "source" in screen.text and "built-in" in screen.text and screen.is_coloured


def test_configs_that_are_refused(martlet):
    assert "whole number" in martlet.complaint("topics", "configs", "standing", "--set", "segment.ms=soon")
    assert "no topic never-made" in martlet.complaint("topics", "configs", "never-made", "--set", "segment.ms=60000")
    assert "no topic never-made" in martlet.complaint("topics", "configs", "never-made")
    martlet.run("topics", "configs", "standing", "--set", "no-equals-sign", code=2)
    martlet.run("topics", "configs", "standing", "--set", "segment.ms=60000", "--unset", "segment.ms", code=2)


# The cluster


def test_describe_is_what_cluster_does_by_itself(martlet, cluster):
    said = martlet.text("cluster")
    assert f"controller node {cluster.controller()}" in said and said.splitlines()[-1] == "healthy"
    assert said.split("metadata")[0] == martlet.text("cluster", "describe").split("metadata")[0]
    document = martlet.json("cluster", "describe")
    assert [node["id"] for node in document["nodes"]] == [1, 2, 3] and document["healthy"] is True
    assert {node["quorumRole"] for node in document["nodes"]} == {"leader", "voter"}
    screen = martlet.screen("cluster")
    screen.assert_fits()
    assert screen.is_coloured and "registered" in screen.text


def test_wait_waits_for_nodes_and_gives_up_with_a_sentence(martlet):
    assert martlet.text("cluster", "describe", "--wait", "3", "--quiet") == ""
    said = martlet.complaint("cluster", "--wait", "4", "--patience", "0")
    assert "3 of 4 nodes are registered" in said


def test_quorum_shows_voters_and_lag(martlet, cluster):
    document = martlet.json("cluster", "quorum")
    assert document["leader"] == cluster.controller() and document["leaderEpoch"] >= 1
    assert [voter["id"] for voter in document["voters"]] == [1, 2, 3] and document["observers"] == []
    for voter in document["voters"]:
        assert len(voter["directoryId"]) == 22 and voter["logEndOffset"] > 0 and voter["lag"] >= 0
        assert voter["lastFetchTimestampMs"] > 0
    screen = martlet.screen("cluster", "quorum")
    screen.assert_fits()
    rows = [line.split()[:2] for line in screen.lines if line.split()[:1] and line.split()[0].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "3"], screen.text
    assert sorted(row[1] for row in rows) == ["leader", "voter", "voter"], screen.text


def test_an_empty_cluster_says_what_to_do(new_cluster):
    empty = new_cluster(count=1)
    empty.start()
    runner = Martlet(empty.bootstrap, empty.folder)
    for verb in ("list", "describe"):
        assert runner.text("topics", verb) == "no topics: martlet topics create NAME\n"
        assert runner.json("topics", verb) == []


# Usage


@pytest.mark.parametrize("arguments", [
    ["no-such-command"], ["topics", "no-such-command"], ["cluster", "no-such-command"], ["log", "no-such-command"],
    ["topics", "create"], ["topics", "create", "no/slash"], ["topics", "create", "t", "--partitions", "0"],
    ["topics", "create", "t", "--partitions", "many"], ["topics", "create", "t", "--config", "novalue"],
    ["topics", "list", "--no-such-option"], ["cluster", "--wait", "0"], ["cluster", "health", "--limit", "-1"],
    ["topics", "list", "--bootstrap", "no-port"], ["topics", "list", "--bootstrap", ""], ["completion"],
    ["completion", "tcsh"], ["log", "dump"], ["log", "dump", "x", "--verify", "--records"],
], ids=" ".join)
def test_wrong_usage_is_exit_code_2_and_says_how(martlet, arguments):
    said = martlet.run(*arguments, code=2)
    assert said.stdout == b"" and b"Usage: martlet" in said.stderr


def test_a_bad_address_in_the_environment_is_usage_too(martlet):
    assert b"no address" in martlet.run("topics", "list", bootstrap="nonsense", code=2).stderr


@pytest.mark.parametrize("arguments", [
    ["topics", "list"], ["topics", "describe", "t"], ["topics", "configs", "t"], ["topics", "delete", "t"],
    ["topics", "create", "t"], ["topics", "add-partitions", "t", "--add", "1"], ["cluster"], ["cluster", "quorum"],
    ["cluster", "health"],
], ids=" ".join)
def test_a_cluster_that_is_not_there_is_one_sentence(martlet, arguments):
    address = f"127.0.0.1:{nodes.free_port()}"
    said = martlet.complaint(*arguments, bootstrap=address)
    assert address in said and "is the cluster started? make cluster" in said
    screen = martlet.screen(*arguments, bootstrap=address, code=1)
    assert screen.is_coloured and address in screen.text


def test_a_reader_that_goes_away_is_no_failure(martlet):
    """`| head -1` reads one line and closes the pipe."""
    for arguments in (["completion", "bash"], ["topics", "describe"], ["topics", "list", "--json"]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([nodes.BINARY, *arguments], stdout=writer, stderr=subprocess.PIPE,
                              env=martlet.environment(), timeout=60, check=False)
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, b""), arguments


def test_completion_scripts(martlet, tmp_path):
    script = tmp_path / "martlet.bash"
    script.write_text(martlet.text("completion", "bash"))
    subprocess.run(["bash", "-n", str(script)], check=True)
    complete = f"source {script}; complete -p martlet"
    assert "martlet" in subprocess.run(["bash", "-c", complete], check=True, capture_output=True).stdout.decode()
    assert martlet.text("completion", "zsh").startswith("#compdef martlet")
    assert "complete -c 'martlet'" in martlet.text("completion", "fish")
    said = martlet.text("completion", "--help")
    assert "bash-completion" in said and "fpath" in said and "fish" in said
