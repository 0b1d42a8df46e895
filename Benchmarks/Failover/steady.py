# Whether anything fails over although nothing fails: three nodes, RF 3, acks=all, flush.mode=sync, driven for many
# minutes at a share of the full load, which a short run at full speed finds ahead of it.
#
# Elections and changes of the controller are counted by epochs, of the partitions and of the metadata quorum: no two
# looks, however far apart, can miss one. Replicas that leave the ISR and brokers that go out of service are counted as
# every node tells them ten times a second; what comes back between two looks is not seen.
#
# The load is ingest-speed's (Benchmarks/IngestSpeed/load.c): full batches for all partitions of a leader in one
# request, five in flight on each connection. It ends by itself when a node refuses a batch or closes a connection; that
# is noted, and it starts again.

import json
import os
import subprocess
import sys
import threading
import time

import wire
from cluster import die_with_parent
from conditions import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DRIVER = os.path.join(ROOT, ".build/release/ingest-speed")
TOPIC, PARTITIONS, BATCH_KIB = "steady", 6, 16
MIB = 1 << 20
# What is on disk stays below some 4 GB, however long the run.
SETTINGS = [("flush.mode", "sync"), ("segment.bytes", str(64 * MIB)), ("retention.bytes", str(128 * MIB))]
DEFAULTS = {"log.retention.check.interval.ms": 5_000, "log.segment.delete.delay.ms": 1_000}
WARM_UP_S, CALIBRATION_S, LOOK_EVERY_S, SAVE_EVERY_S = 5, 10, 0.1, 60


class Watch(threading.Thread):
    """What one node tells, again and again over one connection. A node that is slow to tell does not hold up the
    others' watches."""

    def __init__(self, node, note):
        super().__init__(daemon=True)
        self.node, self.note = node, note
        self.has_looked, self.is_over = threading.Event(), threading.Event()
        self.connection, self.isrs, self.brokers = None, {}, set()
        self.epochs, self.quorum_epoch = {}, 0
        self.shrinks = self.fenced = 0

    def run(self):
        while not self.is_over.wait(LOOK_EVERY_S):
            self.look()

    def look(self):
        try:
            self.connection = self.connection or self.node.connect(10)
            self.take(wire.metadata(self.connection, [TOPIC]))
            self.quorum_epoch = max(self.quorum_epoch, wire.quorum(self.connection).epoch)
            self.has_looked.set()
        except (OSError, ValueError) as error:
            self.note(f"node {self.node.id} does not tell: {error!r}")
            self.connection = None

    def take(self, found):
        for index, partition in found.topics[TOPIC].partitions.items():
            isr = set(partition.isr)
            if gone := self.isrs.get(index, isr) - isr:
                self.shrinks += len(gone)
                self.note(f"node {self.node.id}: {sorted(gone)} left the ISR of partition {index}")
            self.isrs[index] = isr
            self.epochs[index] = max(partition.epoch, self.epochs.get(index, -1))
        if gone := self.brokers - set(found.brokers):
            self.fenced += len(gone)
            self.note(f"node {self.node.id}: brokers {sorted(gone)} are out of service")
        self.brokers = set(found.brokers)


def driver(cluster, seconds, mb_per_s=0.0):
    port = cluster.any_node().address[1]
    words = [port, TOPIC, PARTITIONS, 3, BATCH_KIB, max(1, round(seconds)), round(mb_per_s * 1e3)]
    command = [DRIVER, "press", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=die_with_parent)


def driven(process):
    """What the driver measured; a sentence when it gave up."""
    output, complaint = process.communicate()
    return json.loads(output) if process.returncode == 0 else complaint.strip()


def full_speed(cluster):
    for seconds in (WARM_UP_S, CALIBRATION_S):
        found = driven(driver(cluster, seconds))
        assert isinstance(found, dict), f"at full speed: {found}\n{cluster.tails()}"
    return found


class Steady:
    def __init__(self, cluster, minutes, share, report):
        self.cluster, self.seconds, self.report = cluster, minutes * 60, report
        self.found = {"bench": "steady", "minutes": minutes, "share": share, "partitions": PARTITIONS,
                      "batch_bytes": BATCH_KIB << 10, "runs": [], "events": []}
        self.watches = [Watch(node, self.note) for node in cluster.nodes.values()]
        self.began = time.monotonic()

    def note(self, text):
        self.found["events"].append(f"{time.monotonic() - self.began:.1f} s: {text}")
        print(self.found["events"][-1], file=sys.stderr, flush=True)

    def epochs(self):
        """Of the partitions together, and of the quorum: the newest that any node has told."""
        return (sum(max(watch.epochs.get(index, 0) for watch in self.watches) for index in range(PARTITIONS)),
                max(watch.quorum_epoch for watch in self.watches))

    def count(self):
        partitions, quorum = self.epochs()
        self.found |= {
            "leader_elections": partitions - self.first[0], "controller_changes": quorum - self.first[1],
            "isr_shrinks": max(watch.shrinks for watch in self.watches),
            "brokers_fenced": max(watch.fenced for watch in self.watches),
            "seconds": time.monotonic() - self.began}

    def save(self, is_complete=False):
        self.found |= {"is_complete": is_complete, "load_average": os.getloadavg()[0],
                       "date": time.strftime("%Y-%m-%d", time.gmtime())}
        if self.report:
            with open(self.report, "w", encoding="utf-8") as file:
                json.dump(self.found, file, indent=1)
                file.write("\n")

    def run(self):
        found = self.found
        full = full_speed(self.cluster)
        found |= {"full_mb_per_s": full["mb_per_s"], "full_p99_ms": full["p99_us"] / 1e3}
        found["aimed_mb_per_s"] = found["share"] * full["mb_per_s"]
        self.cluster.wait_isr_full(TOPIC)
        for watch in self.watches:
            watch.start()
        for watch in self.watches:
            assert watch.has_looked.wait(30), f"node {watch.node.id} tells nothing"
        self.began, self.first = time.monotonic(), self.epochs()
        self.drive()
        # A look that begins after the load has ended.
        for watch in self.watches:
            watch.has_looked.clear()
        for watch in self.watches:
            watch.has_looked.wait(30)
            watch.is_over.set()
        self.count()
        self.conclude()
        return found

    def drive(self):
        end, saved, process = self.began + self.seconds, self.began, None
        while (now := time.monotonic()) < end or process:
            if process is None:
                process = driver(self.cluster, end - now, self.found["aimed_mb_per_s"])
            if process.poll() is not None:
                self.ended(driven(process))
                process = None
            if now - saved > SAVE_EVERY_S:
                saved = now
                self.count()
                self.save()
            time.sleep(LOOK_EVERY_S)

    def ended(self, result):
        if isinstance(result, dict):
            self.found["runs"].append(result)
        else:
            self.note(f"the driver gave up: {result}")
            self.cluster.wait_isr_full(TOPIC)

    def conclude(self):
        found, runs = self.found, self.found["runs"]
        seconds = sum(run["seconds"] for run in runs)
        found["mb_per_s"] = sum(run["mb_per_s"] * run["seconds"] for run in runs) / seconds if runs else 0.0
        found["p99_ms"] = max((run["p99_us"] for run in runs), default=0) / 1e3
        found["longest_ms"] = max((run["longest_us"] for run in runs), default=0) / 1e3
        found["failovers"] = found["leader_elections"] + found["controller_changes"]
        found["holds"] = found["failovers"] == 0
        self.save(is_complete=True)


def measure_steady(cluster, minutes, share, report=None):
    if not os.path.exists(DRIVER):
        sys.exit("ingest-speed is not built: swift build -c release --product ingest-speed")
    cluster.start()
    cluster.create_topic(TOPIC, partitions=PARTITIONS, configs=SETTINGS)
    wait_until("the topic is there", lambda: len(cluster.partitions(TOPIC)) == PARTITIONS)
    cluster.wait_isr_full(TOPIC)
    return Steady(cluster, minutes, share, report).run()


def print_steady(found):
    print(f"Steady: three nodes, RF 3, acks=all, flush.mode=sync, {found['partitions']} partitions, batches of "
          f"{found['batch_bytes'] >> 10} KiB;")
    print(f"{found['minutes']:g} minutes at {found['share']:.0%} of full load; load average "
          f"{found['load_average']:.1f}.\n")
    print(f"{'full speed':<28}{found['full_mb_per_s']:>9.1f} MB/s   p99 of a request {found['full_p99_ms']:.0f} ms")
    print(f"{'driven':<28}{found['mb_per_s']:>9.1f} MB/s   p99 of a request {found['p99_ms']:.0f} ms, longest "
          f"{found['longest_ms']:.0f} ms")
    for name in ("leader_elections", "controller_changes", "isr_shrinks", "brokers_fenced"):
        print(f"{name.replace('_', ' '):<28}{found[name]:>9}")
    if found["mb_per_s"] < 0.95 * found["aimed_mb_per_s"]:
        print(f"! {found['aimed_mb_per_s']:.1f} MB/s were meant: the nodes did not keep up")
    for event in found["events"]:
        print(f"! {event}")
    print(f"\n{'holds' if found['holds'] else 'MISSED':<7} false failovers in {found['minutes']:g} minutes: "
          f"{found['failovers']}, aim 0")
