# One round: a topic of its own on three nodes, a client that writes into it, one node that falls silent, and the gap
# between acknowledged records that follows. Then the node comes back, and everything that was disturbed is waited for.

import os
import random
import signal
import time

import wire
from conditions import wait_until

AFTERWARDS = 20  # acknowledged records after the cluster has moved on
DELETE_TOPICS = 20
chance = random.Random()


class Kill:
    name = "kill -9"

    @staticmethod
    def strike(node):
        os.kill(node.process.pid, signal.SIGKILL)

    @staticmethod
    def heal(node):
        node.ended()
        node.start()


class Stop:
    name = "SIGSTOP"

    @staticmethod
    def strike(node):
        os.kill(node.process.pid, signal.SIGSTOP)

    @staticmethod
    def heal(node):
        node.resume()


class Cut:
    """The node's cable is pulled: its packets vanish, both ways."""
    name = "cut off"

    def __init__(self, network):
        self.network = network

    def strike(self, node):
        self.network.attach(node.id, False)

    def heal(self, node):
        self.network.attach(node.id, True)


def choose(cluster, role):
    """The node to fall silent, and the replicas of the round's topic, its leader first."""
    controller = cluster.controller()
    others = [number for number in cluster.nodes if number != controller]
    chance.shuffle(others)
    if role == "both":
        return controller, [controller, *others]
    return (controller if role == "controller" else others[0]), [others[0], controller, others[1]]


class Round:
    """`role` is what the node is: "leader" of the partition, "controller" (and a follower), or "both"."""

    def __init__(self, cluster, client, fault, role):
        self.cluster, self.client, self.fault = cluster, client, fault
        self.topic = f"{role}-{chance.randrange(1 << 40)}"
        self.victim, self.replicas = choose(cluster, role)

    def run(self):
        """The gap in seconds."""
        cluster, client = self.cluster, self.client
        cluster.create_topic(self.topic, [self.replicas])
        cluster.wait_isr_full(self.topic)
        client.use(self.topic)
        client.run(lambda: len(client.acks) >= AFTERWARDS)
        # Anywhere in the life of a record and between two heartbeats.
        moment = time.monotonic() + chance.uniform(0.01, 0.2)
        client.run(lambda: time.monotonic() >= moment)
        before = len(client.acks)
        self.struck_at = time.monotonic()
        self.fault.strike(cluster[self.victim])
        try:
            gap = self.gap(before)
        finally:
            self.fault.heal(cluster[self.victim])
        self.recover()
        return gap

    def gap(self, before):
        """The longest pause between two acknowledged records, from the last one before the fault until the cluster
        goes on without the node and records flow again."""
        client = self.client
        client.run(lambda: client.isr_without(self.victim), 90)
        moved = len(client.acks)
        client.run(lambda: len(client.acks) >= moved + AFTERWARDS, 90)
        times = [at for at, _ in client.acks[before - 1:]]
        longest, self.last_before, self.first_after = max(
            (later - earlier, earlier, later) for earlier, later in zip(times, times[1:]))
        return longest

    def recover(self):
        self.cluster.wait_ready()
        self.cluster.wait_isr_full(self.topic)
        self.client.finish()
        wait_until("the topic is deleted", self.delete)

    def delete(self):
        """DeleteTopics 1."""
        with self.cluster.any_node().connect() as connection:
            correlation = next(connection.correlations)
            body = wire.array([wire.string(self.topic)]) + wire.int32(30_000)
            connection.send(wire.frame(DELETE_TOPICS, 1, correlation, body))
            reader = wire.Reader(connection.answer(), False)
        reader.int32()
        reader.int32()
        return reader.array(lambda r: (r.string(), r.int16()))[0][1] in (0, 3)
