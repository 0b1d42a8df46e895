# A producer that is as quick as a client can be: one record in flight with acks=all, a connection to every node held
# open, and no back-off worth the name. What it measures is the cluster's wait, not the client's.
#
# When the leader resets the connection, refuses it, or answers with an error, it asks the other nodes for Metadata at
# once and again every 2 ms, and sends the record again as soon as one of them names a leader of a newer epoch. A node
# that is frozen or cut off says nothing: after 20 ms without an answer it asks as well, and leaves the old leader only
# when a newer one is named.

import errno
import itertools
import select
import socket
import struct
import time

import wire
from batches import batch

ASK_EVERY_S = 0.002
WATCH_EVERY_S = 0.020
DOUBT_AFTER_S = 0.020
CONNECT_EVERY_S = 0.010
CONNECT_PATIENCE_S = 1.0
VALUE = bytes(range(100))


class Received:
    """An answer that is already here, in the place of a connection, so that wire.py can take it apart."""

    def __init__(self, content, flexible):
        self.reader = wire.Reader(content, flexible)
        self.reader.int32()
        if flexible:
            self.reader.tags()

    def call(self, *_):
        return self.reader


class Line:
    """A connection to one node that is made again for as long as the client lives."""

    def __init__(self, number, address):
        self.number, self.address = number, address
        self.socket, self.is_open, self.buffer = None, False, bytearray()
        self.next_try = self.tried_at = 0.0
        self.asked_at = None  # of a Metadata request that has no answer yet
        self.answered_at = 0.0

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket, self.is_open, self.buffer, self.asked_at = None, False, bytearray(), None
        self.next_try = time.monotonic() + CONNECT_EVERY_S

    def begin(self):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tried_at = time.monotonic()
        code = self.socket.connect_ex(self.address)
        if code not in (0, errno.EINPROGRESS):
            self.close()

    def frames(self):
        while len(self.buffer) >= 4:
            length = struct.unpack_from(">i", self.buffer)[0]
            if len(self.buffer) < 4 + length:
                return
            content = bytes(self.buffer[4:4 + length])
            del self.buffer[:4 + length]
            yield content


class LightClient:
    name = "light driver"

    def __init__(self, addresses):
        self.lines = {number: Line(number, address) for number, address in addresses.items()}
        self.correlations = itertools.count(1)
        self.acks, self.events = [], []
        self.topic, self.leader, self.epoch = None, None, -1
        self.flight = None  # (correlation, node, when sent)
        self.is_lost = True
        self.known = None  # the newest Partition that any node told
        self.is_watching = False  # asks for Metadata every 20 ms while all is well, too
        self.waits = []  # between the two Metadata answers around a new leader's name: how late it may have been seen

    def use(self, topic):
        """From now on records go into partition 0 of this topic; the line stays."""
        self.topic, self.leader, self.epoch, self.known, self.is_watching = topic, None, -1, None, False
        rows = wire.string(topic) + wire.array([wire.int32(0) + wire.data(batch([VALUE]))])
        self.produce_body = wire.string(None) + wire.int16(-1) + wire.int32(30_000) + wire.array([rows])
        asked = wire.compact_array([bytes(16) + wire.compact_string(topic) + wire.NO_TAGS])
        self.metadata_body = asked + wire.int8(0) + wire.int8(0) + wire.NO_TAGS
        self.acks, self.events, self.flight, self.is_lost, self.pending = [], [], None, True, {}
        for line in self.lines.values():
            line.asked_at = None

    def isr_without(self, node):
        """No replica waits for that node any more, as another one told."""
        self.is_watching = True
        return self.known is not None and node not in self.known.isr and self.known.leader not in (node, -1)

    def finish(self):
        """No more records; the one under way is waited for."""
        self.topic = None
        self.run(lambda: self.flight is None)

    def end(self):
        for line in self.lines.values():
            line.close()

    def note(self, text):
        self.events.append((time.monotonic(), text))

    def run(self, is_done, seconds=60):
        deadline = time.monotonic() + seconds
        while not is_done():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; known {self.known}, events {self.events[-8:]}")
            self.step()

    def step(self):
        now = time.monotonic()
        self.reconnect(now)
        if self.topic and self.flight is None and not self.is_lost and self.lines[self.leader].is_open:
            self.produce(now)
        in_doubt = self.is_lost or self.flight is None or now - self.flight[2] > DOUBT_AFTER_S
        if self.topic and (in_doubt or self.is_watching):
            self.ask(now, ASK_EVERY_S if in_doubt else WATCH_EVERY_S)
        poll, by_descriptor = select.poll(), {}
        for line in self.lines.values():
            if line.socket is not None:
                by_descriptor[line.socket.fileno()] = line
                poll.register(line.socket, select.POLLIN | (0 if line.is_open else select.POLLOUT))
        for descriptor, mask in poll.poll(1 if in_doubt else 5):
            self.ready(by_descriptor[descriptor], mask)

    def reconnect(self, now):
        for line in self.lines.values():
            if line.socket is None and now >= line.next_try:
                line.begin()
            elif line.socket is not None and not line.is_open and now - line.tried_at > CONNECT_PATIENCE_S:
                line.close()

    def send(self, line, api, version, body):
        correlation = next(self.correlations)
        content = wire.frame(api, version, correlation, body)
        try:
            if line.socket.send(content) == len(content):
                return correlation
        except OSError as error:
            self.lost(line, f"send: {errno.errorcode.get(error.errno)}")
            return None
        self.lost(line, "send: full")
        return None

    def produce(self, now):
        correlation = self.send(self.lines[self.leader], wire.PRODUCE, 3, self.produce_body)
        if correlation is not None:
            self.flight = correlation, self.leader, now
            self.pending[correlation] = wire.PRODUCE

    def ask(self, now, every_s):
        for line in self.lines.values():
            if line.is_open and line.asked_at is None and now - line.answered_at >= every_s:
                correlation = self.send(line, wire.METADATA, 12, self.metadata_body)
                if correlation is not None:
                    line.asked_at = now
                    self.pending[correlation] = wire.METADATA

    def ready(self, line, mask):
        if line.socket is None:
            return
        if not line.is_open:
            if mask & (select.POLLERR | select.POLLHUP) or line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                line.close()
            else:
                line.is_open = True
            return
        try:
            part = line.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(line, errno.errorcode.get(error.errno))
            return
        if not part:
            self.lost(line, "closed")
            return
        line.buffer += part
        for content in line.frames():
            self.answer(line, content)

    def lost(self, line, why):
        self.note(f"node {line.number}: connection lost ({why})")
        line.close()
        if self.flight is not None and self.flight[1] == line.number:
            self.flight, self.is_lost = None, True
        elif self.leader == line.number:
            self.is_lost = True

    def answer(self, line, content):
        correlation = struct.unpack_from(">i", content)[0]
        kind = self.pending.pop(correlation, None)
        if kind == wire.METADATA:
            line.asked_at, since, line.answered_at = None, line.answered_at, time.monotonic()
            self.told(line, wire.metadata(Received(content, True)), since)
        elif kind == wire.PRODUCE and self.flight is not None and self.flight[0] == correlation:
            self.produced(line, wire.produce(Received(content, False), self.topic, 0, b""))
            self.flight = None

    def produced(self, line, result):
        error, _ = result
        if error == 0:
            self.acks.append((time.monotonic(), line.number))
        else:
            self.note(f"node {line.number}: produce error {error}")
            self.is_lost = True
            # Whoever is named next will do, be it the same one: it may not have heard yet that it leads.
            self.epoch = -1

    def told(self, line, found, since):
        topic = found.topics.get(self.topic)
        if topic is None or topic.error or 0 not in topic.partitions:
            return
        partition = topic.partitions[0]
        if self.known is None or partition.epoch > self.known.epoch or set(partition.isr) != set(self.known.isr):
            self.note(f"node {line.number}: leader {partition.leader} epoch {partition.epoch} isr {partition.isr}")
        if self.known is None or partition.epoch >= self.known.epoch:
            self.known = partition
        if partition.leader >= 0 and partition.epoch > self.epoch and self.lines[partition.leader].is_open:
            if self.flight is not None and partition.leader == self.flight[1]:
                self.epoch = partition.epoch
                return
            if since and self.acks:
                self.waits.append(line.answered_at - since)
            self.leader, self.epoch, self.is_lost, self.flight = partition.leader, partition.epoch, False, None
