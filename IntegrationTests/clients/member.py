# What the members in Python share: they are child processes that print all that happens to them, a JSON object a line.
"""The one argument is JSON:

    {"bootstrap": ..., "sessionMs": ..., "metadataMs": ..., "members": [
        {"name": ..., "group": ..., "assignor": ..., "topics": [...] or "pattern": ..., "instance": null or ...}]}

One process holds a member of each of several groups. The line "stop", or the end of the input, makes all of them leave.
Every line printed has `at` (CLOCK_MONOTONIC in seconds, one clock for all processes), `member`, `group` and `event`:

    assigned, revoked, lost    partitions [[topic, partition]], what is new or gone; generation, if the client tells
    read                       runs [[topic, partition, first, last]]; record n of a partition has to say n
    committed                  offsets [[topic, partition, offset]], after the acknowledgement
    commit_failed, trouble     error; the member goes on
    error                      error; the member ends
    closed                     the member has left
"""

import ctypes
import json
import signal
import sys
import threading
import time
import traceback

COMMIT_SECONDS = 0.4
stopping = threading.Event()
printing = threading.Lock()


class Member:
    """The account of one member: what it owns, what it has read, what of that is not committed yet."""

    def __init__(self, settings, common):
        self.name, self.group, self.assignor = settings["name"], settings["group"], settings["assignor"]
        # "consumer-uniform" and "consumer-range" are the coordinator's own, of the next-generation protocol (KIP-848).
        protocol, _, remote = self.assignor.partition("-")
        self.remote_assignor = remote if protocol == "consumer" else None
        self.topics, self.pattern = settings.get("topics"), settings.get("pattern")
        self.instance = settings.get("instance")
        self.bootstrap, self.session_ms = common["bootstrap"], common["sessionMs"]
        self.metadata_ms = common["metadataMs"]
        self.owned = set()
        self.positions = {}
        self.runs = []
        self.committed_at = 0

    def tell(self, event, **fields):
        self.flush()
        with printing:
            line = {"at": time.monotonic(), "member": self.name, "group": self.group, "event": event, **fields}
            print(json.dumps(line), flush=True)

    def flush(self):
        runs, self.runs = self.runs, []
        if runs:
            self.tell("read", runs=runs)

    def take(self, topic, partition, offset, value):
        """One record. What comes of a partition that was just given up is someone else's."""
        if (topic, partition) not in self.owned:
            return
        if value is None or value != str(offset).encode():
            self.tell("error", error=f"record {offset} of {topic}-{partition} says {value}")
        last = self.runs[-1] if self.runs else None
        if last and last[:2] == [topic, partition] and last[3] + 1 == offset:
            last[3] = offset
        else:
            self.runs.append([topic, partition, offset, offset])
        self.positions[topic, partition] = offset + 1

    def assigned(self, partitions, generation=None):
        self.owned |= set(partitions)
        self.tell("assigned", partitions=sorted(partitions), generation=generation)

    def gone(self, partitions, event="revoked"):
        self.tell(event, partitions=sorted(partitions))
        self.owned -= set(partitions)
        for partition in partitions:
            self.positions.pop(partition, None)

    def due(self, at_once=False):
        """What to commit now: {(topic, partition): offset}. All of it is printed already."""
        self.flush()
        if not self.positions or (not at_once and time.monotonic() < self.committed_at + COMMIT_SECONDS):
            return {}
        self.committed_at = time.monotonic()
        return dict(self.positions)

    def committed(self, offsets):
        self.tell("committed", offsets=[[*partition, offset] for partition, offset in sorted(offsets.items())])
        for partition, offset in offsets.items():
            if self.positions.get(partition) == offset:
                del self.positions[partition]

    def commit_failed(self, error):
        self.tell("commit_failed", error=f"{type(error).__name__}: {error}")


def read_input():
    for line in sys.stdin:
        if line.strip() == "stop":
            break
    stopping.set()


def start():
    """The members that this process is to hold; from now on `stopping` tells when they have to leave."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    common = json.loads(sys.argv[1])
    threading.Thread(target=read_input, daemon=True).start()
    return [Member(settings, common) for settings in common["members"]]


def guarded(run, member):
    try:
        run(member)
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        member.tell("error", error=f"{type(error).__name__}: {error}")


def run_all(run):
    """A thread for each member."""
    threads = [threading.Thread(target=guarded, args=(run, member)) for member in start()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
