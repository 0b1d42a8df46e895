# The same record after record through librdkafka with its own defaults, which wait 100 ms between tries: what most
# users see of a failover, beside what the cluster needs.

import time

import wire
from light_client import VALUE
from confluent_kafka import Producer

WATCH_EVERY_S = 0.05


class LibrdkafkaClient:
    name = "librdkafka"

    def __init__(self, cluster, **settings):
        self.cluster = cluster
        self.producer = Producer({
            "bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 0, "log_level": 0, **settings})
        self.acks, self.events, self.topic, self.in_flight = [], [], None, False
        self.watched, self.looked_at, self.has_moved = None, 0.0, False

    def use(self, topic):
        self.topic, self.acks, self.watched, self.has_moved = topic, [], None, False

    def delivered(self, error, message):
        self.in_flight = False
        if error:
            self.events.append((time.monotonic(), str(error)))
        elif message.topic() == self.topic:
            self.acks.append((time.monotonic(), message.broker() if hasattr(message, "broker") else -1))

    def run(self, is_done, seconds=120):
        deadline = time.monotonic() + seconds
        while not is_done():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; {self.events[-8:]}")
            if self.topic and not self.in_flight:
                self.in_flight = True
                self.producer.produce(self.topic, VALUE, partition=0, on_delivery=self.delivered)
            self.producer.poll(0.002)

    def isr_without(self, node):
        """As the light driver's, by a connection of its own now and then."""
        now = time.monotonic()
        if not self.has_moved and now - self.looked_at > WATCH_EVERY_S:
            self.looked_at = now
            other = next(one for number, one in self.cluster.nodes.items() if number != node)
            self.watched = self.watched or wire.Connection(other.address, 5)
            partition = wire.metadata(self.watched, [self.topic]).topics[self.topic].partitions[0]
            self.has_moved = node not in partition.isr and partition.leader not in (node, -1)
        return self.has_moved

    def finish(self):
        self.topic = None
        if self.watched is not None:
            self.watched.socket.close()
        self.run(lambda: not self.in_flight)

    def end(self):
        self.producer.purge()
        self.producer.flush(1)
