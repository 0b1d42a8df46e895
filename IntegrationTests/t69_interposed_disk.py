# The interposed disk itself, with a small program in C on top of it: what was synced is there after the loss of power, what was
# not is lost, kept or torn as the test asks. What t70 to t72 show is worth what this shows.

import errno
import os
import random
import subprocess
import time

import pytest

import cluster as nodes
import power
from conditions import wait_until


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interposed")
    return power.build_disk(folder), power.build(folder, "actor.c")


class Actor:
    """The program on its disk."""

    def __init__(self, programs, folder):
        library, self.program = programs
        os.makedirs(folder, exist_ok=True)
        self.disk = power.Disk(library, os.path.join(str(folder), "data"))
        self.process = None

    def start(self):
        os.makedirs(self.disk.data, exist_ok=True)
        self.process = subprocess.Popen(
            [self.program], cwd=self.disk.data, env={**os.environ, **self.disk.environment}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, preexec_fn=nodes.die_with_parent)

    def do(self, script):
        """Every line is a call that must succeed; returns what the last one answered."""
        for line in script.strip().splitlines():
            result = self.ask(line.strip())
            assert result >= 0, f"{line}: {os.strerror(-result)}"
        return result

    def ask(self, line):
        if self.process is None:
            self.start()
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None

    def cut(self, fate="lost", seed=0):
        if self.process:
            self.kill()
        return self.disk.cut(random.Random(seed), fate)

    def tree(self):
        """{path: contents}, directories with None."""
        found = {}
        for folder, directories, files in os.walk(self.disk.data):
            where = os.path.relpath(folder, self.disk.data)
            for name in directories:
                found[os.path.normpath(os.path.join(where, name))] = None
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.normpath(os.path.join(where, name))] = file.read().decode("latin-1")
        return found


@pytest.fixture
def actor(programs, tmp_path):
    made = Actor(programs, tmp_path)
    yield made
    if made.process:
        made.kill()


DURABLE = "create a\nput a 0 first\nfsync a\nsyncdir ."


# What is done after `a` holds "first" and the directory and the file are synced; and what the loss of power leaves.
@pytest.mark.parametrize("script, left", [
    ("put a 5 second", {"a": "first"}),
    ("putv a 5 second", {"a": "first"}),
    ("append a second", {"a": "first"}),
    ("put a 5 second\nfsync a", {"a": "firstsecond"}),
    ("putv a 5 second\nfdatasync a", {"a": "firstsecond"}),
    ("append a second\nfdatasync a\nput a 0 XX", {"a": "firstsecond"}),
    ("put a 5 second\nwriteback a", {"a": "first"}),
    ("put a 5 second\nsyncdir .", {"a": "first"}),
    ("put a 5 second\nsyncfs .", {"a": "firstsecond"}),
    ("cut a 2", {"a": "first"}),
    ("cut a 2\nfsync a", {"a": "fi"}),
    ("cut a 2\nput a 2 xx\nfsync a\ncut a 0", {"a": "fixx"}),
    ("empty a", {"a": "first"}),
    ("empty a\nfsync a", {"a": ""}),
    ("create b", {"a": "first"}),
    ("create b\nput b 0 x\nfsync b", {"a": "first"}),
    ("create b\nput b 0 x\nsyncdir .", {"a": "first", "b": ""}),
    ("create b\nput b 0 x\nfsync b\nsyncdir .", {"a": "first", "b": "x"}),
    ("rename a b", {"a": "first"}),
    ("rename a b\nfsync b", {"a": "first"}),
    ("rename a b\nsyncdir .", {"b": "first"}),
    ("put a 0 FIRST\nrename a b\nsyncdir .", {"b": "first"}),
    ("create b\nput b 0 new\nfsync b\nrename b a", {"a": "first"}),
    ("create b\nput b 0 new\nfsync b\nrename b a\nsyncdir .", {"a": "new"}),
    ("create b\nput b 0 new\nrename b a\nsyncdir .", {"a": ""}),
    ("unlink a", {"a": "first"}),
    ("unlink a\ncreate a\nput a 0 again\nfsync a", {"a": "first"}),
    ("unlink a\nsyncdir .", {}),
    ("mkdir d", {"a": "first"}),
    ("mkdir d\ncreate d/x\nput d/x 0 y\nfsync d/x\nsyncdir d", {"a": "first"}),
    ("mkdir d\nsyncdir .\ncreate d/x", {"a": "first", "d": None}),
    ("mkdir d\ncreate d/x\nput d/x 0 y\nfsync d/x\nsyncdir d\nsyncdir .", {"a": "first", "d": None, "d/x": "y"}),
    ("mkdir d\ncreate d/x\nsyncdir d\nsyncdir .\nunlink d/x\nrmdir d", {"a": "first", "d": None, "d/x": ""}),
    ("mkdir d\ncreate d/x\nsyncdir d\nsyncdir .\nunlink d/x\nrmdir d\nsyncdir .", {"a": "first"}),
    ("mkdir d\ncreate d/x\nsyncdir d\nsyncdir .\nrename d e", {"a": "first", "d": None, "d/x": ""}),
    ("mkdir d\ncreate d/x\nsyncdir d\nrename d e\nsyncdir .", {"a": "first", "e": None, "e/x": ""}),
])
def test_only_what_was_synced_is_left(actor, script, left):
    actor.do(DURABLE)
    actor.do(script)
    actor.cut()
    assert actor.tree() == left


def test_a_second_cut_knows_what_the_first_one_left(actor):
    actor.do(DURABLE)
    actor.cut()
    actor.do("put a 5 second\ncreate b")
    actor.cut()
    assert actor.tree() == {"a": "first"}
    actor.do("put a 5 second\nfsync a\ncreate b\nsyncdir .\nput b 0 x")
    actor.cut()
    assert actor.tree() == {"a": "firstsecond", "b": ""}


def test_a_killed_process_loses_nothing_until_the_power_goes(actor):
    actor.do(DURABLE + "\nput a 5 second\ncreate b")
    actor.kill()
    assert actor.tree() == {"a": "firstsecond", "b": ""}
    # The next process's sync covers what the one before wrote.
    actor.do("fsync a")
    actor.cut()
    assert actor.tree() == {"a": "firstsecond"}


def test_kept_is_all_and_zeros_are_a_size_without_data(actor):
    actor.do(DURABLE + "\nput a 5 second\ncreate b")
    actor.cut("kept")
    assert actor.tree() == {"a": "firstsecond", "b": ""}
    actor.do("append a third")
    actor.cut("zeros")
    assert actor.tree() == {"a": "firstsecond" + "\0" * 5, "b": ""}


def test_torn_files_are_made_of_old_and_new_sectors_and_names_of_the_first_operations(programs, tmp_path):
    seen, names = set(), set()
    for seed in range(40):
        actor = Actor(programs, tmp_path / str(seed))
        actor.do("create a\nput a 0 " + "o" * 2048 + "\nfsync a\nsyncdir .\nput a 0 " + "n" * 4096)
        actor.do("create b\nrename b c\ncreate d")
        actor.cut("torn", seed)
        left = actor.tree()
        sectors = [left["a"][start:start + 512] for start in range(0, len(left["a"]), 512)]
        assert all(set(sector) in ({"o"}, {"n"}, {"\0"}) for sector in sectors), sectors
        assert 2048 <= len(left["a"]) <= 4096
        assert all(set(sector) != {"\0"} for sector in sectors[:4])
        seen.add("".join(sector[0] for sector in sectors))
        names.add("".join(sorted(set(left) - {"a"})))
    assert len(seen) > 20
    assert names == {"", "b", "c", "cd"}
    again = Actor(programs, tmp_path / "again")
    again.do("create a\nput a 0 " + "o" * 2048 + "\nfsync a\nsyncdir .\nput a 0 " + "n" * 4096)
    again.do("create b\nrename b c\ncreate d")
    again.cut("torn", 39)
    assert again.tree() == left, "the same seed tears the same way"


@pytest.mark.parametrize("fate", [*power.FATES, "mixed"])
def test_what_was_synced_stays_whatever_becomes_of_what_was_appended(programs, tmp_path, fate):
    for seed in range(20):
        actor = Actor(programs, tmp_path / str(seed))
        actor.do("create a\nput a 0 " + "o" * 1300 + "\nfsync a\nsyncdir .\nappend a " + "n" * 150)
        actor.cut(fate, seed)
        left = actor.tree()["a"]
        assert left[:1300] == "o" * 1300 and set(left[1300:]) <= {"n", "\0"}, f"seed {seed}: {left}"


def test_a_lying_disk_makes_nothing_durable(actor):
    actor.do(DURABLE)
    actor.disk.set(lies=1)
    actor.do("put a 5 second\nfsync a\ncreate b\nsyncdir .")
    actor.cut()
    assert actor.tree() == {"a": "first"}


def test_writes_and_syncs_fail_as_often_as_they_are_told_to(actor):
    actor.do(DURABLE + "\ncreate other.log")
    actor.disk.fail_writes(2, errno.ENOSPC, match=".log")
    assert actor.ask("put a 0 x") == 1
    assert [actor.ask("put other.log 0 x") for _ in range(3)] == [-errno.ENOSPC, -errno.ENOSPC, 1]
    assert actor.disk.get("failed_writes") == 2
    actor.disk.heal()
    actor.disk.set(name_errno=errno.ENOSPC)
    assert actor.ask("create c") == actor.ask("mkdir d") == actor.ask("rename a c") == -errno.ENOSPC
    actor.disk.heal()
    actor.disk.fail_syncs(1, match="/a")
    assert actor.ask("fdatasync other.log") == 0
    assert [actor.ask("fsync a"), actor.ask("fsync a")] == [-errno.EIO, 0]
    # As on Linux: what the failed sync did not bring to the disk, the next one does not either.
    actor.cut()
    assert actor.tree() == {"a": "first"}


def test_a_failed_sync_of_a_directory_makes_no_name_durable(actor):
    actor.do(DURABLE + "\ncreate b")
    actor.disk.fail_syncs(1)
    assert actor.ask("syncdir .") == -errno.EIO
    actor.cut()
    assert actor.tree() == {"a": "first"}


def test_a_slow_sync_is_late(actor):
    actor.do(DURABLE)
    actor.disk.set(sync_delay_ms=300)
    before = time.monotonic()
    actor.do("fsync a")
    assert time.monotonic() - before >= 0.3
    assert actor.disk.get("delayed") == 1


@pytest.mark.parametrize("clock", ["time", "clock", "day"])
def test_the_wall_clock_jumps_and_the_other_clock_does_not(actor, clock):
    year = 365 * 24 * 3600
    monotonic = actor.ask("monotonic")
    for jump in (year, -year, 0):
        actor.disk.set(clock_offset_ns=jump * 10**9)
        assert abs(actor.ask(clock) - time.time() - jump) < 60
    wait_until("the monotonic clock goes on", lambda: 0 <= actor.ask("monotonic") - monotonic < 3600)
