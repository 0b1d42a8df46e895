# Power cuts and disk faults for real nodes: what interposed/disk.c kept beside a data directory becomes the directory that a
# disk would hold after the loss of power.

import errno
import mmap
import os
import random
import shutil
import struct
import subprocess

import cluster as nodes
from workload import common_prefix

SOURCES = os.path.join(nodes.ROOT, "IntegrationTests", "interposed")
SECTOR_BYTES = 512

# What becomes of what was not synced. `mixed` draws one of the others for every file and every directory.
FATES = ("lost", "kept", "torn", "zeros")

# struct faults of disk.c.
FIELDS = {"clock_offset_ns": "q", "lies": "I", "sync_errno": "i", "sync_failures": "i", "write_errno": "i",
          "write_failures": "i", "name_errno": "i", "sync_delay_ms": "I", "write_delay_ms": "I", "syncs": "Q",
          "failed_syncs": "Q", "writes": "Q", "failed_writes": "Q", "delayed": "Q", "match": "128s"}
LAYOUT = struct.Struct("@" + "".join(FIELDS.values()))
OFFSETS = {name: struct.calcsize("@" + "".join(list(FIELDS.values())[:index + 1])) - struct.calcsize(kind)
           for index, (name, kind) in enumerate(FIELDS.items())}


def build(folder, source, *flags):
    """Compiles a source of interposed/ and returns what came of it. clang is there wherever Swift is."""
    compiler = next(found for found in map(shutil.which, ("clang", "cc", "gcc")) if found)
    made = os.path.join(str(folder), os.path.splitext(source)[0])
    subprocess.run([compiler, "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-o", made, os.path.join(SOURCES, source),
                    *flags], check=True)
    return made


def build_disk(folder):
    return build(folder, "disk.c", "-shared", "-fPIC", "-ldl", "-lpthread")


class Disk:
    """The interposed disk below one process that keeps its files under `data`."""

    def __init__(self, library, data):
        self.data = os.path.join(os.path.realpath(os.path.dirname(data)), os.path.basename(data))
        self.side = self.data + ".disk"
        shared = self.data + ".faults"
        with open(shared, "wb") as file:
            file.truncate(LAYOUT.size)
        with open(shared, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), LAYOUT.size)
        self.environment = {"LD_PRELOAD": library, "DISK_ROOT": self.data, "DISK_SIDE": self.side,
                            "DISK_FAULTS": shared}

    def set(self, **faults):
        """Fields of struct faults; they act at once."""
        # The name of the file goes first: a fault must not act on others in between.
        for name in sorted(faults, key=lambda name: name != "match"):
            value = faults[name].encode() if name == "match" else faults[name]
            struct.pack_into("@" + FIELDS[name], self.page, OFFSETS[name], value)

    def get(self, name):
        return struct.unpack_from("@" + FIELDS[name], self.page, OFFSETS[name])[0]

    def fail_syncs(self, count=-1, number=errno.EIO, match=""):
        self.set(match=match, sync_errno=number, sync_failures=count)

    def fail_writes(self, count=-1, number=errno.EIO, match=""):
        self.set(match=match, write_errno=number, write_failures=count)

    def heal(self):
        self.set(sync_errno=0, sync_failures=0, write_errno=0, write_failures=0, name_errno=0, sync_delay_ms=0,
                 write_delay_ms=0, lies=0, match="")

    def cut(self, rng=None, fate="lost"):
        """The process is dead; what its disk had not made durable meets its fate. Returns what changed, in numbers."""
        if not os.path.isdir(self.side):
            return Counts()
        after = AfterPowerCut(self.data, self.side, rng or random.Random(0), fate)
        after.write(self.data + ".after")
        shutil.rmtree(self.data, ignore_errors=True)
        os.rename(self.data + ".after", self.data)
        shutil.rmtree(self.side)
        return after.counts


class Counts:
    """What power cuts took: files whose contents did not come through as written, bytes (at least), operations on names."""

    def __init__(self):
        self.files = self.bytes = self.names = 0

    def add(self, other):
        self.files += other.files
        self.bytes += other.bytes
        self.names += other.names


class AfterPowerCut:
    def __init__(self, data, side, rng, fate):
        self.side, self.rng, self.fate, self.counts = side, rng, fate, Counts()
        self.paths = {}
        self.root = os.stat(data).st_ino
        for folder, directories, files in os.walk(data):
            self.paths[os.stat(folder).st_ino] = folder
            for name in files:
                path = os.path.join(folder, name)
                self.paths[os.lstat(path).st_ino] = path
            directories.sort()
        for name in os.listdir(side):
            number, kind = name.split(".")
            if kind in ("live", "gone"):
                self.paths.setdefault(int(number), os.path.join(side, name))

    def beside(self, number, kind):
        return os.path.join(self.side, f"{number}.{kind}")

    def fate_of_one(self):
        return self.rng.choice(FATES) if self.fate == "mixed" else self.fate

    def write(self, target, number=None):
        number = self.root if number is None else number
        os.mkdir(target)
        for name, child in sorted(self.names(number).items()):
            path = self.paths.get(child)
            # Killed between a call and what disk.c notes of it.
            if path is None:
                continue
            if os.path.isdir(path):
                self.write(os.path.join(target, name), child)
            else:
                self.write_file(os.path.join(target, name), child, path)

    def names(self, number):
        """{name: inode} of a directory: as it was synced, and of what came after the first few operations or none."""
        try:
            with open(self.beside(number, "dir"), encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            path = self.paths[number]
            return {name: os.lstat(os.path.join(path, name)).st_ino for name in os.listdir(path)}
        # A line without its end was being written when the process was killed.
        lines = text.split("\n")[:-1]
        synced_bytes = max((int(line[2:]) for line in lines if line[0] == "S"), default=0)
        # Names are ASCII here.
        synced = max(text[:synced_bytes].count("\n"), sum(line[0] == "B" for line in lines))
        lines = lines[:synced] + [line for line in lines[synced:] if line[0] != "S"]
        later = len(lines) - synced
        fate = self.fate_of_one()
        kept = {"lost": 0, "kept": later}.get(fate, self.rng.randint(0, later))
        self.counts.names += later - kept
        found = {}
        for line in lines[:synced + kept]:
            if line[0] in "BL":
                child, name = line[2:].split(" ", 1)
                found[name] = int(child)
            elif line[0] == "U":
                found.pop(line[2:], None)
            elif line[0] == "R":
                before, after = line[2:].split("/")
                found[after] = found.pop(before)
        return found

    def write_file(self, target, number, path):
        try:
            with open(self.beside(number, "durable"), "rb") as file:
                durable = file.read()
        except FileNotFoundError:
            os.link(path, target)
            return
        with open(path, "rb") as file:
            live = file.read()
        content = durable if live == durable else self.remains(live, durable)
        # Of the reserve of space nothing is ever synced, nor need be.
        if content != live and not target.endswith("/.space-reserve"):
            self.counts.files += 1
            self.counts.bytes += abs(len(live) - len(content)) or 1
        with open(target, "wb") as file:
            file.write(content)

    def remains(self, live, durable):
        """The disk's contents of a file that had changed: of every sector the new bytes or the old ones."""
        fate = self.fate_of_one()
        if fate == "lost":
            return durable
        if fate == "kept":
            return live
        if fate == "zeros":
            # The size went to the disk before the data did.
            return durable[:len(live)].ljust(len(live), b"\0")
        low, high = sorted((len(live), len(durable)))
        # Never shorter than both: a synced end stays, and what is appended behind it cannot take its sector away.
        size = self.rng.choice((low, high, max(low, self.rng.randint(low, high) // SECTOR_BYTES * SECTOR_BYTES)))
        content = bytearray(durable[:size].ljust(size, b"\0"))
        share = self.rng.choice((0.1, 0.5, 0.9))
        first = common_prefix(live, durable) // SECTOR_BYTES * SECTOR_BYTES
        for start in range(first, min(size, len(live)), SECTOR_BYTES):
            if self.rng.random() < share:
                end = min(start + SECTOR_BYTES, size, len(live))
                content[start:end] = live[start:end]
        return bytes(content)
