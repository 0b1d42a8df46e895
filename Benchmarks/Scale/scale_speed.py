# What partitions and connections cost: three nodes, RF 3.
#
# Partitions, for each count: the time to create them in one topic (until CreateTopics is answered, and until every node
# has made every log), the memory that a replica takes, CPU while idle, what kill -9 of one node costs (until another
# node names a leader for every partition that it led, and until a sample of these acknowledged a record each, one
# after the other), and the time from the start of that node until every replica is in sync again.
# Connections, to one node: memory of each, CPU while idle, and the time to answer ApiVersions on all of them.
#
# Memory is what a node takes more than before the topic (resident, settled), by the replicas on it: every node has one
# of each partition. Directories are removed at the very end: an ext4 without journal is slow to make files for some
# minutes after many were deleted, so two runs should lie as far apart.

import argparse
import json
import os
import statistics
import struct
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "IntegrationTests"))

import cluster as nodes  # noqa: E402
import wire  # noqa: E402
from batches import batch  # noqa: E402
from conditions import wait_until  # noqa: E402
from connections import api_versions, open_all, raise_limit  # noqa: E402

KIB = 1 << 10
TOPIC = "scale"
ALL = (1, 2, 3)
SAMPLE = 30  # partitions that are written to
IDLE_S = 10
REPLICA_AIM_BYTES, REJOIN_AIM_S, AIMED_AT = 16 * KIB, 5.0, 10_000


def cpu_seconds(node):
    """User and system seconds (clock_getcpuclockid(3), spelled out)."""
    return time.clock_gettime((~node.process.pid << 3) | 2)


def settled_memory(node):
    """Resident bytes once a second passed with less than 1 % of change."""
    def settled():
        before = node.resident_bytes()
        time.sleep(1)
        now = node.resident_bytes()
        return abs(now - before) < before / 100 and now
    return wait_until("the memory stands still", settled)


def rest(cluster):
    """Waits until no node takes more than a twentieth of a core, but no longer than the patience."""
    def rests():
        before = {number: cpu_seconds(node) for number, node in cluster.nodes.items()}
        time.sleep(1)
        return all(cpu_seconds(node) - before[number] < 0.05 for number, node in cluster.nodes.items())
    patiently(rests)


def idle_cpu(some):
    """CPU seconds a second, of each node, over ten seconds with nothing to do."""
    before = [cpu_seconds(node) for node in some]
    time.sleep(IDLE_S)
    return statistics.mean(cpu_seconds(node) - start for node, start in zip(some, before)) / IDLE_S


class Patience:
    """For each wait; what takes longer is told as a dash."""
    seconds = 60.0


PARTITION = struct.Struct(">hiiii")  # error, index, leader, leader epoch, number of replicas
COUNT = struct.Struct(">i")


def look(connection):
    """{partition: (leader, replicas in sync)} by Metadata 7, taken apart by hand: 10,000 partitions in some 20 ms."""
    content = call(connection, wire.METADATA, 7, wire.array([wire.string(TOPIC)]) + wire.int8(0))
    reader = wire.Reader(content, False)
    reader.raw(8)  # correlation id, throttle time
    reader.array(lambda r: (r.int32(), r.string(), r.int32(), r.string()))
    reader.string(), reader.int32(), reader.int32()
    error, _, _ = reader.int16(), reader.string(), reader.int8()
    if error:
        return {}
    count, at, found = reader.int32(), reader.at, {}
    for _ in range(count):
        _, index, leader, _, replicas = PARTITION.unpack_from(content, at)
        at += PARTITION.size + 4 * replicas
        in_sync, = COUNT.unpack_from(content, at)
        at += 4 + 4 * in_sync
        offline, = COUNT.unpack_from(content, at)
        at += 4 + 4 * offline
        found[index] = leader, in_sync
    return found


def call(connection, api, version, body):
    connection.send(wire.frame(api, version, next(connection.correlations), body))
    return connection.answer()


def patiently(probe):
    """Waits for the probe to be true, and between two looks twice as long as one took: looking must not be the load.
    None when that was not within the patience."""
    deadline = time.monotonic() + Patience.seconds
    while (now := time.monotonic()) < deadline:
        if found := probe():
            return found
        time.sleep(max(0.002, 2 * (time.monotonic() - now)))
    return None


def wait_in_sync(node, count):
    with node.connect() as connection:
        def is_in_sync():
            found = look(connection)
            return len(found) == count and all(
                leader >= 0 and in_sync == len(ALL) for leader, in_sync in found.values())
        return patiently(is_in_sync)


def create(cluster, count):
    began = time.monotonic()
    spread = [ALL[turn:] + ALL[:turn] for turn in range(len(ALL))]
    cluster.create_topic(TOPIC, [spread[partition % len(spread)] for partition in range(count)])
    answered = time.monotonic() - began
    opened = since(began, patiently(lambda: all(logs(node) == count for node in cluster.nodes.values())))
    return answered, opened


def logs(node):
    return sum(name.startswith(TOPIC + "-") for name in os.listdir(node.data))


def since(began, is_done):
    """Seconds, or None for what was not within the patience."""
    return time.monotonic() - began if is_done else None


class Sample:
    """Partitions that one node leads, and who takes a record for them now."""

    def __init__(self, cluster, victim):
        self.cluster, self.victim = cluster, victim
        self.survivors = [node for number, node in cluster.nodes.items() if number != victim]
        self.watch = self.survivors[0].connect()
        self.led = [index for index, (leader, _) in look(self.watch).items() if leader == victim]
        self.lines = {node.id: node.connect() for node in self.survivors}
        self.record = batch([bytes(100)])

    def leaders(self):
        """Of the partitions that the victim led, once none is without another leader."""
        found = look(self.watch)
        leaders = {index: found[index][0] for index in self.led}
        return leaders if all(leader not in (-1, self.victim) for leader in leaders.values()) else None

    def acknowledged(self, leaders):
        """A record into each of the sample, one after the other."""
        for index in self.led[::max(1, len(self.led) // SAMPLE)]:
            wait_until(f"partition {index} takes a record",
                       lambda i=index: wire.produce(self.lines[leaders[i]], TOPIC, i, self.record)[0] == 0)
        return True

    def end(self):
        for line in (self.watch, *self.lines.values()):
            line.socket.close()


def fail_over(cluster, count):
    """kill -9 of a node that leads a third and is not the controller; seconds until leaders, until acks, and from the
    node's start to all in sync."""
    controller = cluster.controller()
    with cluster[controller].connect() as connection:
        leaders = {leader for leader, _ in look(connection).values()}
    victim = next((n for n in sorted(leaders) if n != controller), min(leaders))
    sample = Sample(cluster, victim)
    try:
        began = time.monotonic()
        cluster[victim].kill()
        found = patiently(sample.leaders)
        led = since(began, found)
        acknowledged = since(began, found and sample.acknowledged(found))
    finally:
        sample.end()
    began = time.monotonic()
    cluster[victim].start()
    rejoined = since(began, wait_in_sync(sample.survivors[0], count))
    return {"led_s": led, "acks_s": acknowledged, "rejoin_s": rejoined, "led": len(sample.led)}


def measure_partitions(count, folder):
    cluster = nodes.Cluster(folder, 3)
    try:
        cluster.start()
        before = {number: settled_memory(node) for number, node in cluster.nodes.items()}
        answered, opened = create(cluster, count)
        found = {"partitions": count, "create_s": answered, "open_s": opened}
        rest(cluster)
        after = {number: settled_memory(node) for number, node in cluster.nodes.items()}
        found["bytes_per_replica"] = statistics.mean(after[n] - before[n] for n in after) / count
        found["resident_bytes"] = max(after.values())
        found["idle_cpu"] = idle_cpu(cluster.nodes.values())
        found |= fail_over(cluster, count)
        return found
    finally:
        cluster.end()


def measure_connections(counts, folder):
    cluster = nodes.Cluster(folder, 1)
    rows = []
    try:
        cluster.start()
        node = cluster[1]
        sockets, _ = open_all(node.address, 10)
        api_versions(sockets)
        for count in counts:
            close(sockets)
            before = settled_memory(node)
            sockets, opened = open_all(node.address, count)
            api_versions(sockets)
            answers = min(api_versions(sockets) for _ in range(3))
            after = settled_memory(node)
            rows.append({"connections": count, "open_s": opened, "answers_s": answers,
                         "bytes_each": (after - before) / count, "idle_cpu": idle_cpu([node])})
        close(sockets)
    finally:
        cluster.end()
    return rows


def close(sockets):
    for one in sockets:
        one.close()


def cell(value, width, digits, factor=1.0):
    return f"{'–':>{width}}" if value is None else f"{value * factor:>{width}.{digits}f}"


def print_tables(found):
    print(f"Scale: three nodes, RF 3, flush.mode=sync; load {found['load']:.1f}. Times in s, idle CPU in ms a second;")
    print(f"–: not within {Patience.seconds:.0f} s.\n")
    print(f"{'partitions':>10}{'create':>9}{'all logs':>9}{'KiB a':>9}{'node':>7}{'idle':>8}{'all led':>9}{'acks':>8}"
          f"{'rejoin':>8}")
    print(f"{'':>10}{'':>9}{'':>9}{'replica':>9}{'MiB':>7}{'CPU':>8}")
    for row in found["partitions"]:
        print(f"{row['partitions']:>10,}" + cell(row["create_s"], 9, 3) + cell(row["open_s"], 9, 3)
              + cell(row["bytes_per_replica"], 9, 1, 1 / KIB) + cell(row["resident_bytes"], 7, 0, 1 / KIB / KIB)
              + cell(row["idle_cpu"], 8, 1, 1e3) + cell(row["led_s"], 9, 3) + cell(row["acks_s"], 8, 3)
              + cell(row["rejoin_s"], 8, 2))
    if found["connections"]:
        print(f"\n{'connections':>11}{'open':>9}{'ApiVersions':>13}{'KiB each':>10}{'idle CPU':>10}")
    for row in found["connections"]:
        print(f"{row['connections']:>11,}" + cell(row["open_s"], 9, 3) + cell(row["answers_s"], 13, 3)
              + cell(row["bytes_each"], 10, 1, 1 / KIB) + cell(row["idle_cpu"], 10, 1, 1e3))
    print()
    for row in found["partitions"]:
        if row["partitions"] == AIMED_AT:
            tell("memory of a replica", row["bytes_per_replica"] / KIB, REPLICA_AIM_BYTES / KIB, "KiB")
            rejoin = row["rejoin_s"]
            tell("a node's start to all in sync", float("inf") if rejoin is None else rejoin, REJOIN_AIM_S, "s")


def tell(what, found, at_most, unit):
    print(f"{'holds' if found <= at_most else 'MISSED':<7} {what}: {found:.1f} {unit}, aim {at_most:.0f} {unit}")


def main():
    parser = argparse.ArgumentParser(description="What partitions and connections cost.")
    parser.add_argument("--partitions", type=int, nargs="*", default=[1, 100, 1_000])
    parser.add_argument("--connections", type=int, nargs="*", default=[10, 1_000, 10_000])
    parser.add_argument("--patience", type=float, default=Patience.seconds, help="seconds for each wait")
    parser.add_argument("--folder", help="where the nodes' data lies meanwhile")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    Patience.seconds = arguments.patience
    most = raise_limit() - 500
    found = {"bench": "scale", "load": os.getloadavg()[0], "partitions": [], "connections": []}
    with tempfile.TemporaryDirectory(prefix="scale-", dir=arguments.folder) as folder:
        for count in arguments.partitions:
            found["partitions"].append(measure_partitions(count, os.path.join(folder, f"partitions-{count}")))
        if arguments.connections:
            counts = [min(count, most) for count in arguments.connections]
            found["connections"] = measure_connections(counts, os.path.join(folder, "connections"))
    if arguments.json:
        print(json.dumps(found))
    else:
        print_tables(found)


if __name__ == "__main__":
    main()
