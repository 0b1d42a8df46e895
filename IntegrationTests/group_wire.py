# Requests about groups of our own making, and a thread that looks at committed offsets all along.

import threading
import time

import wire
from wire import array, compact_array, compact_string, int32, int64, int8, string

OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 8, 9, 10
wire.FLEXIBLE_FROM.update({OFFSET_COMMIT: 8, OFFSET_FETCH: 6, FIND_COORDINATOR: 3})

# What says "not now, not here": the coordinator loads, is not known yet, or is another node.
ELSEWHERE = {14, 15, 16}


def find_coordinators(connection, groups):
    """FindCoordinator 4: {group: (error, node id)}."""
    keys = compact_array([compact_string(group) for group in groups])
    reader = connection.call(FIND_COORDINATOR, 4, int8(0) + keys + wire.NO_TAGS)
    reader.int32()

    def one(r):
        key, node, _, _, error, _ = r.string(), r.int32(), r.string(), r.int32(), r.int16(), r.string()
        r.tags()
        return key, (error, node)
    return dict(reader.array(one))


def fetch_offsets(connection, groups, require_stable=False):
    """OffsetFetch 8, all partitions: {group: (error, {partition: (offset, metadata, error)})}."""
    wanted = compact_array([compact_string(group) + wire.uvarint(0) + wire.NO_TAGS for group in groups])
    reader = connection.call(OFFSET_FETCH, 8, wanted + int8(require_stable) + wire.NO_TAGS)
    reader.int32()

    def partition(r):
        index, offset, _, metadata, error = r.int32(), r.int64(), r.int32(), r.string(), r.int16()
        r.tags()
        return index, (offset, metadata, error)

    def topic(r):
        name, rows = r.string(), r.array(partition)
        r.tags()
        return name, rows

    def group(r):
        name, topics, error = r.string(), r.array(topic), r.int16()
        r.tags()
        return name, (error, {(t, index): row for t, rows in topics for index, row in rows})
    return dict(reader.array(group))


def commit_offset(connection, group, topic, partition, offset, metadata="", member="", generation=-1):
    """OffsetCommit 2; returns the error of the partition."""
    rows = array([string(topic) + array([int32(partition) + int64(offset) + string(metadata)])])
    reader = connection.call(
        OFFSET_COMMIT, 2, string(group) + int32(generation) + string(member) + int64(-1) + rows)
    return reader.array(lambda r: (r.string(), r.array(lambda p: (p.int32(), p.int16()))))[0][1][0][1]


class OffsetWatch:
    """Asks for the committed offsets of groups again and again, from outside, whatever the nodes go through."""

    def __init__(self, cluster, groups):
        self.cluster, self.groups = cluster, list(groups)
        # [(asked at, answered at, group, partition, offset)]
        self.seen = []
        self.highest = {}
        self.complaints = {group: [] for group in groups}
        # Leaders that Metadata names beside a list of nodes without them: kafka-python's poll raises by such an answer.
        self.absent_leaders = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def run(self):
        while not self.stopping.wait(0.1):
            try:
                self.look()
            except (OSError, EOFError, ValueError, AssertionError, IndexError):
                # A node is on its way down or up.
                continue

    def look(self):
        with self.cluster.any_node().connect(2) as connection:
            found = find_coordinators(connection, self.groups)
            known = wire.metadata(connection)
        self.absent_leaders += [
            (topic.name, p.index, p.leader, sorted(known.brokers)) for topic in known.topics.values()
            for p in topic.partitions.values() if p.leader >= 0 and p.leader not in known.brokers]
        for node in {node for error, node in found.values() if error == 0}:
            if not self.cluster[node].is_alive():
                continue
            groups = [group for group, coordinator in found.items() if coordinator == (0, node)]
            try:
                with self.cluster[node].connect(2) as connection:
                    asked_at = time.monotonic()
                    answers = fetch_offsets(connection, groups)
            except OSError:
                continue
            for group in groups:
                self.take((asked_at, time.monotonic()), node, group, *answers[group])

    def take(self, times, node, group, error, offsets):
        if error in ELSEWHERE:
            return
        if error:
            return self.complaints[group].append(f"OffsetFetch of node {node}: error {error}")
        known = self.highest.setdefault(group, {})
        for partition in set(known) | set(offsets):
            offset, _, partition_error = offsets.get(partition, (-1, "", 0))
            if partition_error:
                self.complaints[group].append(f"OffsetFetch of node {node}: {partition}: error {partition_error}")
            elif offset < known.get(partition, -1):
                self.complaints[group].append(
                    f"node {node}: {partition} is committed up to {offset} at {times[0]:.3f}; "
                    f"{known[partition]} was seen before")
            else:
                known[partition] = offset
                self.seen.append((*times, group, partition, offset))
