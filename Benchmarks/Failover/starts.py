# From exec to the first acknowledged record of one node, and the memory of a node that has nothing to do.
#
# The clock starts when the node's program was executed (Popen returns on that; the fork of this Python before it takes
# as long as a fifth of the start). The driver tries every millisecond: connects, asks for Metadata with auto-creation
# until the topic has a leader, and sends one record with acks=all. So within: the loader, the directory's formation
# (fresh) or recovery (restart), the quorum of one, registration, the topic's creation (fresh only), one synced append.

import os
import time

import wire
from batches import batch
from conditions import wait_until
from light_client import VALUE

TOPIC = "first"
TRY_EVERY_S = 0.001


def first_ack(node):
    """Starts the node; the seconds from exec to each step."""
    node.start()
    steps, began = {}, time.monotonic()
    deadline = began + 30
    while "acknowledged" not in steps:
        assert time.monotonic() < deadline, f"no record is taken: {steps}\n{node.tail()}"
        try:
            with wire.Connection(node.address, 10) as connection:
                steps.setdefault("connected", time.monotonic() - began)
                write(connection, steps, began)
        except ConnectionError:
            # Not listening yet, or not serving: then Metadata is answered by the end of the connection.
            time.sleep(TRY_EVERY_S)
    return steps


def write(connection, steps, began):
    topic = wire.metadata(connection, [TOPIC], True).topics[TOPIC]
    steps.setdefault("answered", time.monotonic() - began)
    while not (topic.error == 0 and topic.partitions and topic.partitions[0].leader >= 0):
        time.sleep(TRY_EVERY_S)
        topic = wire.metadata(connection, [TOPIC], True).topics[TOPIC]
    steps.setdefault("leader", time.monotonic() - began)
    while wire.produce(connection, TOPIC, 0, batch([VALUE]))[0] != 0:
        time.sleep(TRY_EVERY_S)
    steps["acknowledged"] = time.monotonic() - began


def fill(node, records):
    """Data for the restart: batches of a hundred records of 1 KiB."""
    values = batch([os.urandom(1_000)] * 100)
    with node.connect() as connection:
        for _ in range(records // 100):
            error, _ = wire.produce(connection, TOPIC, 0, values)
            assert error == 0, f"error {error}"


def idle_memory(node, quiet_s=1.0):
    """Resident bytes once a second passed without growth."""
    def settled():
        before = node.resident_bytes()
        time.sleep(quiet_s)
        return node.resident_bytes() <= before and before
    return wait_until("the node's memory stands still", settled)


