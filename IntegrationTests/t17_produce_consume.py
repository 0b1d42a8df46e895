# martlet produce and martlet consume: every option by what it prints, in a pipe and on a terminal, and how they say no.

import base64
import contextlib
import fcntl
import itertools
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import cluster as nodes
import wire
from background import Background
from batches import CODEC_NUMBERS, heads
from clients import CODECS, Record
from clients.confluent import ConfluentClient
from clients.kafka_python import KafkaPythonClient
from commands import Martlet
from conditions import PATIENCE_SECONDS, wait_until
from terminal import read_to_end

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, timing_scale=4)


@pytest.fixture(scope="module")
def martlet(cluster, tmp_path_factory):
    return Martlet(cluster.bootstrap, tmp_path_factory.mktemp("martlet"))


@pytest.fixture
def topic(cluster):
    """A topic of its own for each test, with three partitions."""
    name = f"topic-{next(numbers)}"
    cluster.create_topic(name, partitions=3)
    return name


def write(martlet, topic, lines, *options):
    """Lines through a pipe; returns what produce says."""
    return martlet.run("produce", topic, *options, stdin=b"".join(line + b"\n" for line in lines)).stderr.decode()


def read(martlet, topic, *options):
    return martlet.run("consume", topic, "--from-beginning", "--until-end", *options).stdout


def rows(martlet, topic):
    """Every record as (key, value) of partition 0 to 2, by JSON."""
    return [(row["key"], row["value"]) for row in parsed(read(martlet, topic, "--json"))]


def parsed(output):
    return [json.loads(line) for line in output.splitlines()]


def ends(cluster, topic):
    found = []
    for index, partition in sorted(cluster.partitions(topic).items()):
        with cluster[partition.leader].connect() as connection:
            error, end = wire.list_offset(connection, topic, index)
        assert error == 0, f"{topic}-{index}: error {error}"
        found.append(end)
    return found


# produce: where lines come from and what becomes of them

LINES = b"one\n\ntwo words\r\n  blanks kept  \ngr\xc3\xbc\xc3\x9fe\nlast without an end"
VALUES = ["one", "", "two words\r", "  blanks kept  ", "grüße", "last without an end"]


@pytest.mark.parametrize("way", ["stdin", "--file", "--file -"])
def test_each_line_becomes_a_record(martlet, topic, way):
    with open(os.path.join(martlet.folder, "lines.txt"), "wb") as file:
        file.write(LINES)
    options = {"stdin": [], "--file": ["--file", "lines.txt"], "--file -": ["--file", "-"]}[way]
    said = martlet.run("produce", topic, "--partition", "0", *options, stdin=b"ignored" if way == "--file" else LINES)
    assert (said.stdout, said.stderr.decode()) == (b"", f"6 records written to {topic}\n")
    assert rows(martlet, topic) == [(None, value) for value in VALUES]


def test_no_lines_are_no_records(martlet, topic):
    assert martlet.run("produce", topic).stderr.decode() == f"0 records written to {topic}\n"
    assert read(martlet, topic) == b""


def test_a_file_that_cannot_be_read_is_named(martlet, topic):
    assert "no-such-file: No such file" in martlet.complaint("produce", topic, "--file", "no-such-file")
    assert "directory" in martlet.complaint("produce", topic, "--file", martlet.folder)


def test_lines_longer_than_one_read_and_longer_than_a_batch(martlet, topic):
    long = b"x" * 900_000
    write(martlet, topic, [b"before", long, b"behind"], "--partition", "0")
    assert read(martlet, topic).splitlines() == [b"before", long, b"behind"]
    said = martlet.complaint("produce", topic, stdin=b"y" * 3_000_000 + b"\n")
    assert "3000" in said and "larger than" in said, said
    said = martlet.complaint("produce", topic, stdin=b"fits\n" + b"y" * 3_000_000 + b"\n")
    assert "line 2: " in said and "--max-record-bytes" in said and "1 record written before" in said, said


def test_larger_records_where_the_topic_takes_them(martlet, cluster):
    topic = f"topic-{next(numbers)}"
    cluster.create_topic(topic, partitions=1, configs=[("max.message.bytes", "9000000")])
    large = b"z" * 8_000_000
    write(martlet, topic, [large, b"small", large], "--max-record-bytes", "8500000")
    assert read(martlet, topic).splitlines() == [large, b"small", large]
    said = martlet.complaint("produce", topic, "--max-record-bytes", "9900000", stdin=b"z" * 9_500_000 + b"\n")
    assert "max.message.bytes" in said and f"martlet topics configs {topic} --set" in said, said


def test_keys_end_at_the_first_separator(martlet, topic):
    write(martlet, topic, [b"a=>1", b"a=>2=>3", b"=>empty key", b"no key", b"only key=>", b"=a=>=>"],
          "--key-separator", "=>", "--partition", "0")
    assert rows(martlet, topic) == [
        ("a", "1"), ("a", "2=>3"), ("", "empty key"), (None, "no key"), ("only key", ""), ("=a", "=>")]


def test_records_of_a_key_share_a_partition(martlet, topic):
    write(martlet, topic, [b"k%d:%d" % (number % 20, number) for number in range(400)], "--key-separator", ":")
    homes, order = {}, {}
    for row in parsed(read(martlet, topic, "--json")):
        homes.setdefault(row["key"], set()).add(row["partition"])
        order.setdefault(row["key"], []).append(int(row["value"]))
    assert len(homes) == 20 and all(len(home) == 1 for home in homes.values()), homes
    assert set().union(*homes.values()) == {0, 1, 2}
    assert all(found == sorted(found) and len(found) == 20 for found in order.values())


def test_tombstones_are_null_and_only_where_asked_for(martlet, topic):
    write(martlet, topic, [b"k:", b"k:v", b":", b"unseparated", b""], "--key-separator", ":", "--tombstones",
          "--partition", "0")
    write(martlet, topic, [b"k:"], "--key-separator", ":", "--partition", "0")
    assert rows(martlet, topic) == [
        ("k", None), ("k", "v"), ("", None), (None, "unseparated"), (None, ""), ("k", "")]


def test_a_key_separator_may_be_a_tab_and_is_missed_aloud(martlet, topic):
    said = write(martlet, topic, [b"k\tv", b"no tab"], "--key-separator", r"\t", "--partition", "0")
    assert said == f"2 records written to {topic}\n"
    assert rows(martlet, topic) == [("k", "v"), (None, "no tab")]
    assert read(martlet, topic, "--key-separator", r"\t=\\") == b"k\t=\\v\n\t=\\no tab\n"
    said = write(martlet, topic, [b"a:b", b"c:d"], "--key-separator", r"\t", "--partition", "0").splitlines()
    assert len(said) == 2 and "no line had the key separator" in said[0], said


def test_headers_come_with_every_record(martlet, topic):
    write(martlet, topic, [b"1", b"2"], "-H", "a=1", "--header", "a=2", "-H", "grüße=x=y", "-H", "empty=")
    wanted = [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}, {"name": "grüße", "value": "x=y"},
              {"name": "empty", "value": ""}]
    assert [row["headers"] for row in parsed(read(martlet, topic, "--json"))] == [wanted, wanted]


@pytest.mark.parametrize("acks", ["all", "-1", "1", "0"])
def test_acks(martlet, cluster, topic, acks):
    lines = [b"%d" % number for number in range(500)]
    said = write(martlet, topic, lines, f"--acks={acks}", "--partition", "1")
    # Nobody says of acks=0 that it is written.
    assert said == f"500 records {'sent' if acks == '0' else 'written'} to {topic}\n"
    # With acks=0 nobody says when they are there.
    wait_until("all records", lambda: ends(cluster, topic) == [0, 500, 0])
    assert read(martlet, topic).splitlines() == lines
    leader = cluster.leader(topic, 1)
    batches = heads(leader.partition_bytes(topic, 1))
    # Idempotent by default, which takes acks=all.
    assert all((batch.producer >= 0) == (acks in ("all", "-1")) for batch in batches), batches


@pytest.mark.parametrize("codec", CODECS)
def test_codecs(martlet, cluster, topic, codec):
    lines = [b"%d one line like the other" % number for number in range(500)]
    write(martlet, topic, lines, "--compression", codec, "--partition", "2")
    assert read(martlet, topic).splitlines() == lines
    batches = heads(cluster.leader(topic, 2).partition_bytes(topic, 2))
    assert CODEC_NUMBERS[codec] in {batch.codec for batch in batches}
    assert {batch.codec for batch in batches} <= {CODEC_NUMBERS[codec], 0}


def test_partition_is_obeyed_or_refused(martlet, cluster, topic):
    write(martlet, topic, [b"a:%d" % number for number in range(100)], "--partition", "2", "--key-separator", ":")
    assert ends(cluster, topic) == [0, 0, 100]
    said = martlet.complaint("produce", topic, "--partition", "3", stdin=b"x\n")
    assert f"{topic} has no partition 3, only 0 to 2" in said
    assert ends(cluster, topic) == [0, 0, 100]


def test_a_rate_loses_nothing(martlet, topic):
    lines = [b"%d" % number for number in range(60)]
    assert write(martlet, topic, lines, "--rate", "200", "--partition", "0") == f"60 records written to {topic}\n"
    assert read(martlet, topic).splitlines() == lines


def test_summaries(martlet, topic):
    assert write(martlet, topic, [b"x"]) == f"1 record written to {topic}\n"
    done = martlet.run("produce", topic, "--json", stdin=b"1\n2\n3\n")
    assert json.loads(done.stdout) == {"topic": topic, "records": 3} and done.stderr == b""
    for flag in ("--quiet", "-q"):
        done = martlet.run("produce", topic, flag, stdin=b"1\n")
        assert (done.stdout, done.stderr) == (b"", b"")
    assert len(rows(martlet, topic)) == 6


WRONG = [
    ["produce"], ["produce", "no/slash"], ["produce", "t", "--acks", "2"], ["produce", "t", "--compression", "brotli"],
    ["produce", "t", "--partitioner", "random"], ["produce", "t", "--partition", "-1"], ["produce", "t", "--rate", "0"],
    ["produce", "t", "--rate", "fast"], ["produce", "t", "--tombstones"], ["produce", "t", "--key-separator", ""],
    ["produce", "t", "-H", "nameless"], ["produce", "t", "-H", "=value"], ["produce", "t", "--bootstrap", "no-port"],
    ["produce", "t", "--no-such-option"], ["produce", "t", "two"],
    ["consume"], ["consume", "t", "--count", "0"], ["consume", "t", "--count", "many"], ["consume", "t", "--offset=-1"],
    ["consume", "t", "--partition=-1"], ["consume", "t", "--since", "10x"], ["consume", "t", "--since=-5m"],
    ["consume", "t", "--from-beginning", "--from-end"], ["consume", "t", "--offset", "1", "--since", "1m"],
    ["consume", "t", "--from-beginning", "--offset", "1"], ["consume", "t", "--format", "xml"],
    ["consume", "t", "--format", "template"], ["consume", "t", "--format", "json", "--template", "%s"],
    ["consume", "t", "--patience=-1"], ["produce", "t", "--max-record-bytes", "0"], ["produce", "t", "-b", "host:0"]]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_says_how_and_ends_with_2(martlet, words):
    done = martlet.run(*words, code=2)
    assert done.stdout == b"" and b"Usage: martlet" in done.stderr, done.stderr


def test_help_shows_every_option(martlet):
    said = martlet.text("produce", "--help")
    for option in ("--file", "--max-record-bytes", "--key-separator", "--header", "-H", "--acks", "--compression", "--partition",
                   "--partitioner", "--rate", "--tombstones", "--quiet", "--json", "--bootstrap", "--patience"):
        assert option in said, option
    said = martlet.text("consume", "--help")
    for option in ("--from-beginning", "--from-end", "--offset", "--since", "--partition", "--count", "--until-end",
                   "--format", "--template", "--key", "--key-separator", "--headers", "--show-offsets", "--json"):
        assert option in said, option


# consume: where to start and where to end

def test_starts_at_an_offset_of_the_partitions_read(martlet, topic):
    for partition in range(3):
        write(martlet, topic, [b"%d-%d" % (partition, number) for number in range(5)], f"--partition={partition}")
    found = martlet.run("consume", topic, "--offset", "3", "--until-end").stdout.splitlines()
    assert sorted(found) == [b"0-3", b"0-4", b"1-3", b"1-4", b"2-3", b"2-4"]
    only = martlet.run("consume", topic, "--offset", "4", "--partition", "1", "--until-end").stdout
    assert only == b"1-4\n"
    assert martlet.run("consume", topic, "--offset", "5", "--partition", "1", "--until-end").stdout == b""
    assert read(martlet, topic, "--partition", "2").splitlines() == [b"2-%d" % number for number in range(5)]


@pytest.mark.parametrize("options", [["--count", "1"], ["--partition", "0", "--count", "1"]], ids=["all", "one"])
def test_an_offset_outside_of_the_log_is_refused_with_the_next_step(martlet, topic, options):
    write(martlet, topic, [b"x"], "--partition", "0")
    said = martlet.complaint("consume", topic, "--offset", "50", *options)
    assert "offset 50" in said and "--from-beginning" in said


def test_since_takes_records_of_that_age(martlet, cluster, topic):
    now = int(time.time() * 1000)
    minutes = [180, 90, 45, 1]
    ConfluentClient(cluster.bootstrap).produce(
        topic, 0, [Record(b"%d" % age, timestamp=now - age * 60_000) for age in minutes], "none", "all", True)
    for since, wanted in [("1d", minutes), ("4h", minutes), ("2h", minutes[1:]), ("1.25h", minutes[2:]),
                          ("75m", minutes[2:]), ("1800s", minutes[3:]), ("1800000ms", minutes[3:]), ("0s", [])]:
        found = martlet.run("consume", topic, "--since", since, "--until-end").stdout.split()
        assert [int(value) for value in found] == wanted, since


@pytest.mark.parametrize("options", [[], ["--from-end"]], ids=["default", "--from-end"])
def test_from_the_end_shows_only_what_comes(martlet, topic, options):
    write(martlet, topic, [b"old %d" % number for number in range(50)])
    with Background(martlet.bootstrap, martlet.folder, "consume", topic, *options) as command:
        def sees_new():
            write(martlet, topic, [b"new"])
            return command.lines
        # Nobody tells when it has found the ends, so one record after the other is offered.
        wait_until("a new record", sees_new)
        assert set(command.lines) == {b"new\n"}
        command.interrupt()
        said = command.ended()
        assert set(command.lines) == {b"new\n"}
        assert said == f"{len(command.lines)} record{'' if len(command.lines) == 1 else 's'} read\n"


def test_count_and_until_end(martlet, topic):
    write(martlet, topic, [b"%d:x" % number for number in range(100)], "--key-separator", ":")
    for count in (1, 7, 100):
        done = martlet.run("consume", topic, "--from-beginning", "--count", f"{count}")
        assert len(done.stdout.splitlines()) == count and done.stderr == b""
    assert len(read(martlet, topic, "--count", "3").splitlines()) == 3
    assert len(read(martlet, topic, "--count", "1000").splitlines()) == 100
    assert len(read(martlet, topic).splitlines()) == 100
    assert martlet.run("consume", topic, "--from-end", "--until-end").stdout == b""


def test_until_end_does_not_chase_a_topic_that_grows(martlet, topic):
    write(martlet, topic, [b"before"])
    with Background(martlet.bootstrap, martlet.folder, "produce", topic) as growing:
        growing.write(b"more\n")
        wait_until("it grows", lambda: len(read(martlet, topic).splitlines()) > 1)
        for _ in range(5):
            growing.write(b"and more\n" * 100)
            found = read(martlet, topic).splitlines()
            assert found.count(b"before") == 1 and len(found) <= 502


# consume: how records are printed

def test_text(martlet, topic):
    write(martlet, topic, [b"k:v", b"unkeyed"], "--key-separator", ":", "-H", "a=1", "-H", "b=", "--partition", "1")
    assert read(martlet, topic) == b"v\nunkeyed\n"
    assert read(martlet, topic, "--format", "text") == b"v\nunkeyed\n"
    assert read(martlet, topic, "--key") == b"k\tv\n\tunkeyed\n"
    assert read(martlet, topic, "--key-separator", " => ") == b"k => v\n => unkeyed\n"
    assert read(martlet, topic, "--headers") == b"a=1,b=\tv\na=1,b=\tunkeyed\n"
    assert read(martlet, topic, "--show-offsets") == b"1:0\tv\n1:1\tunkeyed\n"
    assert read(martlet, topic, "--show-offsets", "--headers", "--key") == (
        b"1:0\ta=1,b=\tk\tv\n1:1\ta=1,b=\t\tunkeyed\n")


def test_text_is_the_bytes_of_the_value(martlet, cluster, topic):
    ConfluentClient(cluster.bootstrap).produce(
        topic, 0, [Record(b"\x00\xff\x1b[31m", b"\x80"), Record(None, b"gone")], "none", "all", True)
    # `run` asserts that no escape comes out of martlet itself; here it is the record's own.
    done = subprocess.run([nodes.BINARY, "consume", topic, "--from-beginning", "--until-end", "--key"],
                          capture_output=True, env=martlet.environment(), timeout=PATIENCE_SECONDS, check=True)
    assert done.stdout == b"\x80\t\x00\xff\x1b[31m\ngone\t\n"


def test_header_values_are_their_bytes(martlet, cluster, topic):
    ConfluentClient(cluster.bootstrap).produce(
        topic, 0, [Record(b"v", b"k", (("a", b"\xff\x00"), ("b", None)))], "none", "all", True)
    assert read(martlet, topic, "--headers") == b"a=\xff\x00,b=\tv\n"
    assert read(martlet, topic, "--template", "[%h]") == b"[a=\xff\x00,b=]"


RECORDS = [
    Record(b"text", b"key", (("a", b"1"), ("a", None), ("b", b"\xff")), 1_700_000_000_000),
    Record(bytes(range(256)), b"\x80\x81", (), 1_700_000_000_001),
    Record(None, b"gone", (), 1_700_000_000_002),
    Record(b"", b"", (), 1_700_000_000_003),
    Record("quote \" back\\slash \n tab\t grüße 𝄞 \u0001".encode(), None, (), 1_700_000_000_004),
]


def as_json(name, content):
    """The field of a record in JSON: text, or Base64 under another name."""
    try:
        return {name: None if content is None else content.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(content).decode()}


@pytest.mark.parametrize("options", [["--json"], ["--format", "json"]], ids=" ".join)
def test_json_is_an_object_a_line(martlet, cluster, topic, options):
    ConfluentClient(cluster.bootstrap).produce(topic, 2, RECORDS, "none", "all", True)
    wanted = [
        {"topic": topic, "partition": 2, "offset": offset, "timestampMs": record.timestamp,
         "headers": [{"name": name} | as_json("value", value) for name, value in record.headers]}
        | as_json("key", record.key) | as_json("value", record.value)
        for offset, record in enumerate(RECORDS)]
    assert parsed(read(martlet, topic, *options)) == wanted


@pytest.mark.parametrize("size", range(7))
def test_base64_of_every_length(martlet, cluster, topic, size):
    value = b"\xfb\xff\xbf\xfe\xef\xff\x80"[:size] + b"\xff"
    ConfluentClient(cluster.bootstrap).produce(topic, 0, [Record(value)], "none", "all", True)
    assert [base64.b64decode(row["valueBase64"], validate=True)
            for row in parsed(read(martlet, topic, "--json"))] == [value]


def test_templates(martlet, cluster, topic):
    records = [Record(b"value", b"key", (("a", b"1"), ("b", b"2")), 1_700_000_000_000),
               Record(None, None, (), 1_700_000_000_001), Record(b"", b"", (), 1_700_000_000_002)]
    ConfluentClient(cluster.bootstrap).produce(topic, 1, records, "none", "all", True)
    found = read(martlet, topic, "--template", r"%t|%p|%o|%T|%k|%s|%h|%K|%S|100 %%|\t|\\n|%x|\x|ü\n").decode()
    rest = "100 %|\t|\\n|%x|\\x|ü"
    assert found.splitlines() == [
        f"{topic}|1|0|1700000000000|key|value|a=1,b=2|3|5|{rest}", f"{topic}|1|1|1700000000001||||-1|-1|{rest}",
        f"{topic}|1|2|1700000000002||||0|0|{rest}"]
    # Nothing is added to what the template says.
    assert read(martlet, topic, "--format", "template", "--template", "%o,") == b"0,1,2,"
    assert read(martlet, topic, "--template", r"\r%o%") == b"\r0%\r1%\r2%"
    assert read(martlet, topic, "--template", "%o\\") == b"0\\1\\2\\"


def test_read_committed_reads_what_no_transaction_holds_back(martlet, topic):
    write(martlet, topic, [b"x", b"y"], "--partition", "0")
    assert read(martlet, topic, "--read-committed") == b"x\ny\n"


# What is not there

def test_a_topic_that_is_not_there(martlet):
    said = martlet.complaint("consume", "absent", "--from-beginning")
    assert "no topic absent" in said and "martlet topics list" in said
    assert "absent" not in martlet.text("topics", "list", "--names").split()


def test_a_partition_that_is_not_there(martlet, topic):
    said = martlet.complaint("consume", topic, "--partition", "3", "--from-beginning")
    assert f"{topic} has no partition 3, only 0 to 2" in said


@pytest.mark.parametrize("words", [["produce", "t"], ["consume", "t"]], ids=["produce", "consume"])
def test_a_cluster_that_is_not_there(martlet, words):
    bootstrap = f"127.0.0.1:{nodes.free_port()}"
    said = martlet.complaint(*words, bootstrap=bootstrap, stdin=b"x\n")
    assert bootstrap in said and "is the cluster started?" in said


def test_an_advertised_address_that_leads_nowhere(new_cluster):
    """Found by the bootstrap address and lost by the one that it names: the sentence says which, why, and what next."""
    lost = new_cluster(count=1)
    closed = f"127.0.0.1:{nodes.free_port()}"
    lost.advertise(1, closed)
    lost[1].start()
    wait_until("the node is registered", lambda: 1 in lost[1].metadata([]).brokers)
    lost.create_topic("t", partitions=1)
    for words in (["produce", "t"], ["consume", "t", "--from-beginning", "--until-end"]):
        said = Martlet(lost.bootstrap, lost.folder).complaint(*words, "--patience", "1", stdin=b"x\n")
        assert closed in said and "connection refused" in said and "martlet doctor" in said, said


# Ends: a reader that goes away, Ctrl-C, and a producer that is told to stop

def test_a_reader_that_goes_away_is_no_failure(martlet, topic):
    write(martlet, topic, [b"%d %s" % (number, b"x" * 100) for number in range(20_000)], "--partition", "0")
    script = 'set -o pipefail; "$0" consume "$1" --from-beginning | head -1'
    done = subprocess.run(["bash", "-c", script, nodes.BINARY, topic], capture_output=True, check=False,
                          env=martlet.environment(), timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"0 x") and done.stdout.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_consume_counts(martlet, topic, number):
    write(martlet, topic, [b"%d" % line for line in range(30)])
    with Background(martlet.bootstrap, martlet.folder, "consume", topic, "--from-beginning") as command:
        command.wait_lines(30)
        command.process.send_signal(number)
        assert command.ended() == "30 records read\n"
        assert len(command.lines) == 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_produce_writes_what_it_has_read_and_counts(martlet, cluster, topic, number):
    with Background(martlet.bootstrap, martlet.folder, "produce", topic, "--partition", "0") as command:
        command.write(b"a\nb\nunfinished")
        # Lines go out when they come, though the input goes on.
        wait_until("two records are there", lambda: ends(cluster, topic) == [2, 0, 0])
        command.process.send_signal(number)
        assert command.ended() == f"2 records written to {topic}\n"
    assert read(martlet, topic) == b"a\nb\n"


def test_ctrl_c_ends_what_waits_for_nodes_that_stand_still(new_cluster):
    """Records on their way to a stopped leader are in doubt, and it says so rather than wait for them."""
    still = new_cluster(count=3, timing_scale=4)
    still.start()
    still.create_topic("p", [[1, 2, 3]])
    still.wait_isr_full("p")
    with Background(still.bootstrap, still.folder, "produce", "p") as command:
        command.write(b"first\n")
        wait_until("it is written", lambda: ends(still, "p") == [1])
        still[1].pause()
        still[2].pause()
        command.write(b"1\n2\n3\n")
        wait_until("the lines are read", lambda: is_read_empty(command.process))
        command.interrupt()
        said = command.ended(code=1)
        assert "ended by Ctrl-C: 1 record acknowledged, " in said, said
        assert "3 in doubt" in said or "not sent" in said, said
    with Background(still.bootstrap, still.folder, "produce", "p") as command:
        command.write(b"1\n")
        wait_until("it listens to signals", lambda: is_watching(command.process.pid))
        # With nothing read there is nothing to wait for, and the first one would end it.
        wait_until("the line is read", lambda: is_read_empty(command.process))
        command.interrupt()
        wait_until("the second one counts", lambda: not is_watching(command.process.pid))
        command.interrupt()
        assert command.process.wait(timeout=PATIENCE_SECONDS) in (-signal.SIGINT, 1)
    for number in (1, 2):
        still[number].resume()


def is_read_empty(process):
    """Whether the command has taken all that was written to its standard input."""
    return struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, b"\0" * 4))[0] == 0


# On a terminal

class Terminal:
    """martlet with some of its streams on a terminal, which is the controlling one, and the others in pipes."""

    def __init__(self, martlet, *arguments, pipes=(), columns=80):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def prepare():
            nodes.die_with_parent()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        streams = {name: subprocess.PIPE if name in pipes else slave for name in ("stdin", "stdout", "stderr")}
        environment = {**martlet.environment(), "TERM": "xterm"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [nodes.BINARY, *arguments], cwd=martlet.folder, env=environment, start_new_session=True,
            preexec_fn=prepare, pass_fds=[slave], **streams)
        os.close(slave)
        nodes.running.add(self.process)
        self.shown = b""

    def type(self, content):
        os.write(self.master, content)

    def has_shown(self, content):
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 65_536)
        return content in self.shown

    def ended(self, code=0):
        self.shown += read_to_end(self.master)
        found = self.process.wait(timeout=PATIENCE_SECONDS)
        assert found == code, f"exit {found}: {self.shown!r}"
        return self.shown.replace(b"\r\n", b"\n").decode()

    def close(self):
        os.close(self.master)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        nodes.running.discard(self.process)


@pytest.fixture
def terminal(martlet):
    with contextlib.ExitStack() as stack:
        def start(*arguments, **options):
            made = Terminal(martlet, *arguments, **options)
            stack.callback(made.close)
            return made
        yield start


def test_typed_lines_go_out_at_once_and_ctrl_d_ends(terminal, martlet, cluster, topic):
    screen = terminal("produce", topic, "--partition", "0")
    for number in range(1, 4):
        screen.type(b"line %d\n" % number)
        wait_until("the typed line is a record", lambda n=number: ends(cluster, topic) == [n, 0, 0])
    screen.type(b"\x04")
    # What was typed, and no bar between the lines.
    assert screen.ended() == f"line 1\nline 2\nline 3\n3 records written to {topic}\n"
    assert read(martlet, topic) == b"line 1\nline 2\nline 3\n"


@pytest.mark.parametrize("verb, wanted", [("consume", "30 records read"), ("produce", "0 records written to")])
def test_ctrl_c_on_a_terminal(terminal, martlet, topic, verb, wanted):
    write(martlet, topic, [b"%d" % line for line in range(30)], "--partition", "0")
    screen = terminal(verb, topic, *(["--from-beginning"] if verb == "consume" else []))
    if verb == "consume":
        wait_until("all records are shown", lambda: screen.has_shown(b"29\r\n"))
    else:
        screen.type(b"half a line")
        wait_until("it waits for input", lambda: screen.has_shown(b"half a line") and is_watching(screen.process.pid))
    screen.type(b"\x03")
    assert wanted in screen.ended().splitlines()[-1]


def is_watching(pid):
    """Whether the process has set a handler for SIGINT."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt"))
    return caught >> (signal.SIGINT - 1) & 1


@pytest.fixture
def file_of_lines(martlet):
    path = os.path.join(martlet.folder, "many.txt")
    with open(path, "wb") as file:
        file.write(b"".join(b"%d %s\n" % (number, b"x" * 100) for number in range(100_000)))
    return path


def test_a_file_has_a_progress_bar_on_a_terminal(terminal, topic, file_of_lines):
    shown = terminal("produce", topic, "--file", file_of_lines).ended()
    assert "\r\x1b[K" in shown and " %  " in shown and " records, " in shown and "a second" in shown
    assert "█" in shown or "░" in shown
    # The bar is gone when the summary comes, and no state of it was wider than the terminal.
    assert shown.endswith(f"\r\x1b[K100000 records written to {topic}\n")
    for state in shown.split("\r\x1b[K"):
        plain = state.replace("\x1b[36m", "").replace("\x1b[0m", "")
        assert "\x1b" not in plain and all(len(line) < 80 for line in plain.splitlines()), repr(state)


@pytest.mark.parametrize("flag", ["--quiet", "--json"])
def test_a_bar_that_nobody_wants(terminal, topic, file_of_lines, flag):
    screen = terminal("produce", topic, "--file", file_of_lines, flag, pipes=["stdout"])
    output = screen.process.stdout.read()
    assert screen.ended() == ""
    assert output == b"" if flag == "--quiet" else json.loads(output) == {"topic": topic, "records": 100_000}


@pytest.mark.parametrize("columns", [40, 20])
def test_a_bar_fits_a_narrow_terminal(terminal, topic, file_of_lines, columns):
    shown = terminal("produce", topic, "--file", file_of_lines, columns=columns).ended()
    for state in shown.split("\r\x1b[K")[:-1]:
        assert len(state.replace("\x1b[36m", "").replace("\x1b[0m", "")) < columns, repr(state)


def test_no_bar_in_a_pipe(martlet, topic, file_of_lines):
    done = martlet.run("produce", topic, "--file", file_of_lines)
    assert (done.stdout, done.stderr.decode()) == (b"", f"100000 records written to {topic}\n")


@pytest.mark.parametrize("options", [[], ["--json"], ["--key", "--headers", "--show-offsets"]], ids=["", "json", "all"])
def test_what_goes_into_a_pipe_is_the_same_beside_a_terminal(terminal, martlet, topic, options):
    """Errors on a terminal do not colour what goes to a pipe."""
    write(martlet, topic, [b"%d" % number for number in range(100)], "-H", "a=1", "--partition", "0")
    wanted = read(martlet, topic, *options)
    screen = terminal("consume", topic, "--from-beginning", "--until-end", *options, pipes=["stdout"])
    output = screen.process.stdout.read()
    assert (output, screen.ended()) == (wanted, "") and b"\x1b" not in output


def test_a_terminal_shows_records_as_a_pipe_does(terminal, martlet, topic):
    write(martlet, topic, [b"%d" % number for number in range(10)], "--partition", "0")
    shown = terminal("consume", topic, "--from-beginning", "--until-end", "--json").ended()
    assert shown.encode() == read(martlet, topic, "--json")


# Other clients

@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("reader", [ConfluentClient, KafkaPythonClient], ids=lambda client: client.name)
def test_others_read_what_our_client_wrote(martlet, cluster, topic, reader, codec):
    lines = [b"k%d:%d the same text again and again" % (number % 5, number) for number in range(300)]
    write(martlet, topic, lines + [b"gone:"], "--key-separator", ":", "--tombstones", "--compression", codec,
          "--partition", "1", "-H", "a=1", "-H", "a=2", "-H", "empty=")
    found = reader(cluster.bootstrap).consume(topic, [0, 1, 2], 301)
    assert found[0] == found[2] == []
    wanted = [(line.split(b":")[0], line.split(b":")[1]) for line in lines] + [(b"gone", None)]
    assert [consumed.offset for consumed in found[1]] == list(range(301))
    assert [(c.record.key, c.record.value) for c in found[1]] == wanted
    assert {c.record.headers for c in found[1]} == {(("a", b"1"), ("a", b"2"), ("empty", b""))}
    now = time.time() * 1000
    assert all(now - 3_600_000 < c.record.timestamp <= now + 1000 for c in found[1])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("writer", [ConfluentClient, KafkaPythonClient], ids=lambda client: client.name)
def test_our_client_reads_what_others_wrote(martlet, cluster, topic, writer, codec):
    records = [
        Record(b"%d the same text again and again" % number, b"k%d" % number, (("h", b"%d" % number), ("e", b"")),
               1_700_000_000_000 + number) for number in range(300)]
    records += [Record(None, b"gone", (), 1_700_000_001_000), Record(b"\xff\x00", b"", (), 1_700_000_001_001)]
    writer(cluster.bootstrap).produce(topic, 2, records, codec, "all", True)
    wanted = [
        {"topic": topic, "partition": 2, "offset": offset, "timestampMs": record.timestamp,
         "headers": [{"name": name} | as_json("value", value) for name, value in record.headers]}
        | as_json("key", record.key) | as_json("value", record.value) for offset, record in enumerate(records)]
    assert parsed(read(martlet, topic, "--json")) == wanted
