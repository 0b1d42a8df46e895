# martlet log dump: what it shows of the files of a node that runs, and what --verify finds in copies of them that were
# harmed.

import glob
import os
import shutil
import struct
import subprocess

import confluent_kafka
import pytest

import cluster as nodes
from commands import Martlet
from conditions import PATIENCE_SECONDS

BATCHES = 8
HEADER_BYTES = 61


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=1, defaults={"num.partitions": 1})


@pytest.fixture(scope="module")
def martlet(cluster):
    return Martlet(cluster.bootstrap, cluster.folder)


def write_batch(bootstrap, number, codec):
    """A hundred records in one batch: they linger until all of them are there and `flush` sends them."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": 100_000,
                                         "compression.type": codec, "enable.idempotence": True})
    for line in range(100):
        producer.produce("orders", key=f"key-{line}", value=f"value {number} {line} " + os.urandom(40).hex())
    assert producer.flush(PATIENCE_SECONDS) == 0


@pytest.fixture(scope="module")
def partition(cluster, martlet):
    """The directory of a partition with eight batches of every codec, as its stopped node leaves it."""
    martlet.run("topics", "create", "orders", "--config", "segment.bytes=1048576")
    for number in range(BATCHES):
        write_batch(cluster.bootstrap, number, ["none", "gzip", "snappy", "lz4", "zstd"][number % 5])
    folder = os.path.join(cluster[1].data, "orders-0")
    # Beside a running node first: it is only read.
    assert "nothing wrong" in martlet.text("log", "dump", folder, "--verify")
    cluster[1].stop()
    return folder


@pytest.fixture
def copy(partition, tmp_path):
    """A copy of the partition to do harm to."""
    return shutil.copytree(partition, tmp_path / "orders-0")


def segment(folder):
    [path] = glob.glob(os.path.join(folder, "*.log"))
    return path


def positions(martlet, path):
    return [line["position"] for line in martlet.json_lines("log", "dump", path) if line["type"] == "batch"]


def flip(path, position, bit=0):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def found(martlet, *paths):
    """What --verify says is wrong: [(file, position, sentence)], after a look at the exit codes."""
    problems = [line for line in martlet.json_lines("log", "dump", *map(str, paths), "--verify", code=1)
                if line["type"] == "problem"]
    assert problems
    said = martlet.run("log", "dump", *map(str, paths), "--verify", code=1)
    for problem in problems:
        sentence = f"{problem['file']}: position {problem['position']}: {problem['problem']}"
        assert sentence in said.stdout.decode()
    assert "found" in said.stderr.decode() and len(said.stderr.splitlines()) == 1
    return [(problem["file"], problem["position"], problem["problem"]) for problem in problems]


# Shown


def test_batches_are_shown_with_what_their_headers_say(martlet, partition):
    batches = [line for line in martlet.json_lines("log", "dump", segment(partition)) if line["type"] == "batch"]
    assert [batch["baseOffset"] for batch in batches] == [100 * number for number in range(BATCHES)]
    assert [batch["lastOffset"] for batch in batches] == [100 * number + 99 for number in range(BATCHES)]
    assert [batch["codec"] for batch in batches[:5]] == ["none", "gzip", "snappy", "lz4", "zstd"]
    assert all(batch["crcOk"] and batch["records"] == 100 and batch["producerId"] >= 0 for batch in batches)
    assert sum(batch["sizeBytes"] for batch in batches) == os.path.getsize(segment(partition))
    text = martlet.text("log", "dump", segment(partition))
    rows = [line for line in text.splitlines() if "  ok  " in line]
    assert len(rows) == BATCHES and all("producer" in row and "sequence 0 to 99" in row for row in rows)


def test_records_are_shown_with_key_and_value(martlet, partition):
    records = [line for line in martlet.json_lines("log", "dump", segment(partition), "--records")
               if line["type"] == "record"]
    assert [record["offset"] for record in records] == list(range(100 * BATCHES))
    assert records[205]["key"] == "key-5" and records[205]["value"].startswith("value 2 5 ")
    assert 'key "key-5"  value "value 2 5 ' in martlet.text("log", "dump", segment(partition), "--records")


def test_on_a_terminal_it_fits(martlet, partition):
    screen = martlet.screen("log", "dump", segment(partition), "--records")
    assert screen.is_coloured
    assert all(len(line) <= 80 for line in screen.lines if not line.startswith("/")), screen.text[:2000]
    assert martlet.screen("log", "dump", partition, "--verify").is_coloured


def test_indexes_and_checkpoints_are_shown(martlet, partition):
    [index] = glob.glob(os.path.join(partition, "*.index"))
    entries = [line for line in martlet.json_lines("log", "dump", index) if line["type"] == "indexEntry"]
    assert entries and all(entry["position"] in positions(martlet, segment(partition)) for entry in entries)
    [times] = glob.glob(os.path.join(partition, "*.timeindex"))
    entries = [line for line in martlet.json_lines("log", "dump", times) if line["type"] == "indexEntry"]
    assert entries and all(entry["timestampMs"] > 1_600_000_000_000 for entry in entries)
    assert "epoch 0  from offset 0" in martlet.text("log", "dump", os.path.join(partition, "leader-epoch-checkpoint"))
    recovery = os.path.join(os.path.dirname(partition), "recovery-point-offset-checkpoint")
    assert f"orders-0  offset {100 * BATCHES}" in martlet.text("log", "dump", recovery)


def test_the_metadata_log_is_shown_by_name(martlet, partition):
    folder = os.path.join(os.path.dirname(partition), "__cluster_metadata-0")
    text = martlet.text("log", "dump", folder, "--records")
    for name in ("LeaderChangeMessage", "VotersRecord", "RegisterBrokerRecord", 'TopicRecord{name="orders"',
                 "PartitionRecord", 'ConfigRecord{resourceType=2, resourceName="orders", name="segment.bytes"'):
        assert name in text, name
    names = {line.get("name") for line in martlet.json_lines("log", "dump", folder, "--records")}
    assert {"TopicRecord", "PartitionRecord", "FeatureLevelRecord"} <= names
    assert "nothing wrong" in martlet.text("log", "dump", folder, "--verify")


def test_what_is_not_there_is_one_sentence(martlet, tmp_path):
    assert "No such file" in martlet.complaint("log", "dump", str(tmp_path / "gone.log"))
    assert "holds no log" in martlet.complaint("log", "dump", str(tmp_path))


def test_a_directory_of_nodes_is_walked_to_its_segments(martlet, partition, tmp_path):
    """What is right in one directory of a partition is found from two floors above."""
    data = os.path.dirname(partition)
    wanted = {line["file"] for line in martlet.json_lines("log", "dump", partition, "--verify")}
    for above in (data, os.path.dirname(data)):
        found_files = {line["file"] for line in martlet.json_lines("log", "dump", above, "--verify")}
        assert wanted < found_files and any("__cluster_metadata-0" in file for file in found_files)
    folder = tmp_path / "nodes" / "node-1" / "orders-0"
    shutil.copytree(partition, folder)
    os.symlink(tmp_path / "nodes", tmp_path / "nodes" / "again")
    flip(segment(folder), 100)
    [(file, _, _)] = found(martlet, tmp_path)
    assert file == segment(folder)


def test_nothing_verified_is_not_nothing_wrong(martlet, partition, tmp_path):
    (tmp_path / "inner").mkdir()
    assert "holds no log" in martlet.complaint("log", "dump", str(tmp_path), "--verify")
    shutil.copy(os.path.join(partition, "leader-epoch-checkpoint"), tmp_path / "inner")
    assert "holds no log" in martlet.complaint("log", "dump", str(tmp_path), "--verify")
    assert "epoch 0" in martlet.text("log", "dump", str(tmp_path))


@pytest.mark.parametrize("path", ["fifo", "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_refused(martlet, tmp_path, path):
    if path == "fifo":
        path = str(tmp_path / "00000000000000000000.log")
        os.mkfifo(path)
    assert "is no file" in martlet.complaint("log", "dump", path, "--verify")


def test_a_reader_that_goes_away_is_no_failure(martlet, partition):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([nodes.BINARY, "log", "dump", partition, "--records"], stdout=writer,
                          stderr=subprocess.PIPE, env=martlet.environment(), timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


# Verified


def test_the_unharmed_copy_passes(martlet, copy):
    assert "nothing wrong" in martlet.text("log", "dump", str(copy), "--verify")
    assert "nothing wrong" in martlet.text("log", "dump", segment(copy), "--verify")
    files = martlet.json_lines("log", "dump", str(copy), "--verify")
    assert files and all(file == {"type": "file", "file": file["file"], "problems": 0} for file in files)


@pytest.mark.parametrize("batch", [0, 3], ids=["first", "middle"])
def test_a_flipped_bit_anywhere_in_a_header_is_found(martlet, copy, batch):
    path = segment(copy)
    start, behind = positions(martlet, path)[batch:batch + 2]
    for byte in range(HEADER_BYTES):
        flip(path, start + byte, bit=byte % 8)
        problems = [line for line in martlet.json_lines("log", "dump", path, "--verify", code=1)
                    if line["type"] == "problem"]
        # At the batch itself, or, for what no CRC covers, at the one that no longer fits behind it.
        assert any(start <= problem["position"] <= behind for problem in problems), (byte, problems)
        flip(path, start + byte, bit=byte % 8)
    assert "nothing wrong" in martlet.text("log", "dump", path, "--verify")


def test_a_flipped_bit_in_a_payload_is_found_and_named(martlet, copy):
    path = segment(copy)
    starts = positions(martlet, path) + [os.path.getsize(path)]
    for batch in range(BATCHES):
        where = starts[batch] + HEADER_BYTES + (starts[batch + 1] - starts[batch] - HEADER_BYTES) * batch // BATCHES
        flip(path, where, bit=batch)
        assert found(martlet, path) == [(path, starts[batch], f"the batch at offset {100 * batch} has a wrong CRC")]
        # Every other batch is still there.
        assert len(positions(martlet, path)) == BATCHES
        flip(path, where, bit=batch)


def test_a_torn_tail_is_named_as_such(martlet, copy):
    path = segment(copy)
    last = positions(martlet, path)[-1]
    size = os.path.getsize(path)
    for cut in (size - 1, last + HEADER_BYTES, last + 20, last + 1):
        os.truncate(path, cut)
        [(file, position, sentence)] = found(martlet, path)
        assert (file, position) == (path, last) and f"a torn tail of {cut - last} byte" in sentence
    os.truncate(path, last)
    assert "nothing wrong" in martlet.text("log", "dump", path, "--verify")
    with open(path, "ab") as file:
        file.write(bytes(4096))
    [(_, position, sentence)] = found(martlet, path)
    assert position == last and "a torn tail" in sentence and "zero bytes" in sentence
    # The line and the verdict advise the same.
    advice = "the node cuts it off when it starts"
    assert advice in sentence and advice in martlet.complaint("log", "dump", path, "--verify")


def test_garbage_in_the_middle_is_no_torn_tail(martlet, copy):
    path = segment(copy)
    starts = positions(martlet, path)
    with open(path, "r+b") as file:
        file.seek(starts[2])
        file.write(os.urandom(HEADER_BYTES + 30))
    problems = found(martlet, path)
    assert problems[0][1] == starts[2] and not any("torn" in sentence for _, _, sentence in problems)
    assert set(starts[3:]) <= set(positions(martlet, path))


def test_a_missing_batch_is_found_unless_the_topic_is_compacted(martlet, copy):
    path = segment(copy)
    starts = positions(martlet, path)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[:starts[2]] + content[starts[3]:])
    assert found(martlet, path) == [(path, starts[2], "the batch begins at offset 300, but 200 is next (--compacted if "
                                                      "the topic is compacted)")]
    assert "nothing wrong" in martlet.text("log", "dump", path, "--verify", "--compacted")


def test_an_index_that_names_another_batch_is_found(martlet, copy):
    [index] = glob.glob(os.path.join(copy, "*.index"))
    with open(index, "rb") as file:
        relative, position = struct.unpack(">ii", file.read(8))
    for wrong, sentence in (((relative, position + 1), "where no batch begins"), ((relative + 1, position), "ends at")):
        with open(index, "r+b") as file:
            file.write(struct.pack(">ii", *wrong))
        assert any(file == index and sentence in said for file, _, said in found(martlet, copy))
        assert any(sentence in said for _, _, said in found(martlet, index))
    [times] = glob.glob(os.path.join(copy, "*.timeindex"))
    flip(times, 7)
    assert any("timestamp" in said for _, _, said in found(martlet, times))


def test_noise_in_an_index_is_told_in_bounds(martlet, copy):
    """Every entry is wrong: a hundred lines and a count, and no offset that no segment can have."""
    [index] = glob.glob(os.path.join(copy, "*.index"))
    with open(index, "wb") as file:
        file.write(struct.pack(">ii", -5, -7) * 3_000)
    said = martlet.run("log", "dump", str(copy), "--verify", code=1)
    lines = said.stdout.decode().splitlines()
    assert sum(line.startswith(f"{index}: position") for line in lines) == 100
    assert f"{index}: … and 2900 problems more" in lines and "3,000" not in said.stderr.decode()
    assert "3000 problems" in said.stderr.decode() and "offset -" not in said.stdout.decode()
    problems = [line for line in martlet.json_lines("log", "dump", index, "--verify", code=1)
                if line["type"] == "problem"]
    assert len(problems) == 3_000
    # The folder's own name may have a -5 in it.
    assert "-5" not in martlet.text("log", "dump", index).replace(index, "")


def test_garbage_never_ends_it_in_any_other_way(martlet, tmp_path):
    """Exit code 1 and a sentence, whatever the bytes are: a trap would be a negative code."""
    base = "0" * 20
    for seed in range(6):
        content = os.urandom(1 + 150 * seed * seed)
        if seed % 3 == 1:
            # Magic 2 and a length that may fit, over and over.
            content = (struct.pack(">qiib", seed, 40 + seed * 9, 0, 2) + os.urandom(44)) * (seed + 1)
        for suffix in (".log", ".index", ".timeindex", "-0000000001.checkpoint"):
            path = tmp_path / f"{base}{suffix}"
            path.write_bytes(content)
            martlet.run("log", "dump", str(path), "--verify", code=1 if "index" not in suffix else (0, 1))
            martlet.run("log", "dump", str(path), "--records", "--metadata", code=(0, 1))
