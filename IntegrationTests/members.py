# Members of groups in processes of their own, the account of what they say, and the numbered records that they read.

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import confluent_kafka

import cluster as nodes
from clients import java
from conditions import PATIENCE_SECONDS, wait_until

CLIENTS = os.path.join(nodes.ROOT, "IntegrationTests", "clients")
# The shortest that the coordinator takes.
SESSION_MS = 6_000
# So many records of each partition are looked at whenever a group is at rest.
WINDOW = 8
ASSIGNORS = {
    "confluent": ["range", "roundrobin", "cooperative-sticky"],
    "kafka-python": ["range", "roundrobin", "sticky", "cooperative-sticky"],
    "aiokafka": ["range", "roundrobin", "sticky"],
    "java": ["range", "roundrobin", "sticky", "cooperative-sticky"],
    "kcat": ["range"],
}
SCRIPTS = {"confluent": "member_confluent.py", "kafka-python": "member_kafka_python.py", "aiokafka": "member_aio.py"}

numbers = itertools.count(1)


class Book:
    """The account of one group over all its members' lives. Times are CLOCK_MONOTONIC, in seconds."""

    def __init__(self, name):
        self.name = name
        self.lock = threading.RLock()
        self.owners = {}
        self.generations = {}
        # How often anybody was given or had to give up anything.
        self.changes = 0
        # {partition: [(first, last, member, at)]}, and the highest of each
        self.reads = {}
        self.tops = {}
        # [(at, member, partition, offset)]
        self.commits = []
        # A member's first record of a partition that it was given: [(member, partition, assigned at, offset)]
        self.begun = []
        self.beginning = {}
        self.events = []

    def take(self, event):
        with self.lock:
            self.events.append(event)
            getattr(self, event["event"], lambda _: None)(event)

    def assigned(self, event):
        self.changes += 1
        member = event["member"]
        self.generations[member] = event.get("generation")
        for partition in map(tuple, event["partitions"]):
            self.owners.setdefault(member, set()).add(partition)
            self.beginning[member, partition] = event["at"]
        self.owners.setdefault(member, set())

    def revoked(self, event):
        self.changes += 1
        for partition in map(tuple, event["partitions"]):
            self.owners.get(event["member"], set()).discard(partition)

    lost = revoked

    def read(self, event):
        for topic, index, first, last in event["runs"]:
            partition, member = (topic, index), event["member"]
            self.reads.setdefault(partition, []).append((first, last, member, event["at"]))
            self.tops[partition] = max(self.tops.get(partition, -1), last)
            since = self.beginning.pop((member, partition), None)
            if since is not None:
                self.begun.append((member, partition, since, first))

    def committed(self, event):
        for topic, index, offset in event["offsets"]:
            self.commits.append((event["at"], event["member"], (topic, index), offset))

    def gone(self, member):
        """Its process is no more."""
        with self.lock:
            self.changes += 1
            self.owners.pop(member, None)

    def failures(self):
        with self.lock:
            return [f"{event['member']}: {event['error']}" for event in self.events if event["event"] == "error"]

    def events_of(self, member, *kinds):
        with self.lock:
            return [e for e in self.events if e["member"] == member and (not kinds or e["event"] in kinds)]

    def is_shared(self, members, partitions):
        """Every partition has exactly one owner, and none of the members is idle."""
        with self.lock:
            if set(self.owners) != set(members) or not all(self.owners.values()):
                return False
            owned = [partition for owned in self.owners.values() for partition in owned]
            return len(owned) == len(set(owned)) and set(owned) == set(partitions)

    def has_read(self, ends):
        """Of every partition something at or beyond the offset named."""
        return all(self.tops.get(partition, -1) >= offset for partition, offset in ends.items())

    def times_read(self, partition, first, last):
        """{offset: how often} from first to last."""
        found = dict.fromkeys(range(first, last + 1), 0)
        with self.lock:
            for low, high, _, _ in self.reads.get(partition, []):
                for offset in range(max(low, first), min(high, last) + 1):
                    found[offset] += 1
        return found

    def first_commit_since(self, at):
        with self.lock:
            return min((commit[0] for commit in self.commits if commit[0] > at), default=None)

    def state(self):
        with self.lock:
            owners = {m: sorted(f"{t}-{p}" for t, p in owned) for m, owned in sorted(self.owners.items())}
            said = [f"{e['member']} {e['event']} {e['error']}" for e in self.events if "error" in e]
        return f"{self.name}: owners {owners}; they said {said[-6:]}"


class Process:
    """One process with a member in each of several groups, all of the same name."""

    def __init__(self, client, name, bootstrap, wanted, books, folder, class_folder=None, session_ms=SESSION_MS,
                 metadata_ms=300_000):
        """`wanted`: [{group, assignor, topics or pattern, instance}]."""
        self.client, self.name, self.books = client, name, books
        self.groups = [one["group"] for one in wanted]
        # Beside each other in the test's folder, for whoever has to find out: what it printed, and its complaints.
        self.path = os.path.join(folder, f"{client}-{name}-{next(numbers)}")
        self.errors = open(self.path + ".errors", "w+b")
        for one in wanted:
            books.setdefault(one["group"], Book(one["group"]))
        members = [{"name": name, **one} for one in wanted]
        self.process = subprocess.Popen(
            self.command(bootstrap, members, session_ms, metadata_ms, class_folder), cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if client == "kcat" else self.errors,
            start_new_session=True, preexec_fn=nodes.die_with_parent)
        nodes.running.add(self.process)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def command(self, bootstrap, members, session_ms, metadata_ms, class_folder):
        if self.client == "kcat":
            return kcat_command(bootstrap, members[0], session_ms, metadata_ms)
        if self.client != "java":
            common = {"bootstrap": bootstrap, "sessionMs": session_ms, "metadataMs": metadata_ms, "members": members}
            return [sys.executable, os.path.join(CLIENTS, SCRIPTS[self.client]), json.dumps(common)]
        words = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp",
                 ":".join(java.jars() + [class_folder]), "JavaMember", bootstrap, str(session_ms), str(metadata_ms)]
        for one in members:
            topics = "~" + one["pattern"] if one.get("pattern") else ",".join(one["topics"])
            words += [one["name"], one["group"], one["assignor"], topics, one.get("instance") or "-"]
        return words

    def read(self):
        with open(self.path + ".events", "w", encoding="utf-8") as file:
            for line in self.process.stdout:
                for event in [json.loads(line)] if self.client != "kcat" else self.of_kcat(line):
                    file.write(json.dumps(event) + "\n")
                    file.flush()
                    self.books[event["group"]].take(event)

    def of_kcat(self, line):
        event = {"at": time.monotonic(), "member": self.name, "group": self.groups[0]}
        if match := re.match(r"@ (\S+) (\d+) (\d+) (\S*)$", line):
            topic, partition, offset, value = match[1], int(match[2]), int(match[3]), match[4]
            yield {**event, "event": "read", "runs": [[topic, partition, offset, offset]]}
            if value != str(offset):
                yield {**event, "event": "error", "error": f"record {offset} of {topic}-{partition} says {value}"}
        elif match := re.search(r"rebalanced \(.*?\): (assigned|revoked): (.*)$", line):
            partitions = [[topic, int(index)] for topic, index in re.findall(r"(\S+) \[(\d+)\]", match[2])]
            yield {**event, "event": match[1], "partitions": partitions}
        elif line.strip():
            yield {**event, "event": "trouble", "error": line.strip()}

    def is_running(self):
        return self.process.poll() is None

    def stop(self):
        """Leaves its groups and ends."""
        self.ask_to_stop()
        self.wait_end()

    def ask_to_stop(self):
        if self.client == "kcat":
            self.process.send_signal(signal.SIGTERM)
        else:
            self.process.stdin.write("stop\n")
            self.process.stdin.flush()

    def wait_end(self):
        code = self.process.wait(timeout=PATIENCE_SECONDS)
        self.ended()
        assert code == 0, f"{self.client} {self.name}: exit {code}: {self.said()}"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.ended()

    def ended(self):
        nodes.running.discard(self.process)
        self.reader.join(timeout=PATIENCE_SECONDS)
        for group in self.groups:
            self.books[group].gone(self.name)

    def end(self):
        """Whatever has happened, it is no more."""
        if self.is_running():
            self.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def said(self):
        return os.pread(self.errors.fileno(), 1 << 20, 0).decode(errors="replace")[-3000:]


def kcat_command(bootstrap, member, session_ms, metadata_ms):
    settings = {
        "session.timeout.ms": session_ms, "heartbeat.interval.ms": 500, "auto.offset.reset": "earliest",
        "auto.commit.interval.ms": 400, "topic.metadata.refresh.interval.ms": metadata_ms,
        "reconnect.backoff.max.ms": 500, "partition.assignment.strategy": member["assignor"]}
    if member.get("instance"):
        settings["group.instance.id"] = member["instance"]
    options = [word for key, value in settings.items() for word in ("-X", f"{key}={value}")]
    topics = [member["pattern"]] if member.get("pattern") else member["topics"]
    return ["kcat", "-b", bootstrap, *options, "-u", "-f", r"@ %t %p %o %s\n", "-G", member["group"], *topics]


def compile_java(folder):
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-proc:none", "-cp", ":".join(java.jars()), "-d", str(folder),
                    os.path.join(CLIENTS, "JavaMember.java")], check=True)
    return str(folder)


class Numbers:
    """Writes the number of the record, which is its offset too, to each partition of some topics ten times a second."""

    def __init__(self, bootstrap, topics):
        """`topics`: {name: partitions}."""
        self.topics = dict(topics)
        self.sent = {}
        self.acknowledged = {}
        self.failures = []
        self.stopping = threading.Event()
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0, "log_level": 0,
            "message.timeout.ms": 120_000, "request.timeout.ms": 5_000, "socket.timeout.ms": 5_000,
            "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 1_000})
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            for topic, partitions in list(self.topics.items()):
                for index in range(partitions):
                    self.send(topic, index)
            self.producer.poll(0)
            self.stopping.wait(0.1)

    def send(self, topic, index):
        number = self.sent.get((topic, index), 0)

        def reported(error, message):
            if error or message.offset() != number:
                self.failures.append(f"{topic}-{index} {number}: {error or message.offset()}")
            else:
                self.acknowledged[topic, index] = number
        try:
            self.producer.produce(topic, str(number).encode(), partition=index, on_delivery=reported)
            self.sent[topic, index] = number + 1
        except confluent_kafka.KafkaException as error:
            # A partition that was just added: this client does not know it yet.
            if error.args[0].code() != confluent_kafka.KafkaError._UNKNOWN_PARTITION:
                self.failures.append(str(error))

    def partitions(self):
        return [(topic, index) for topic, count in self.topics.items() for index in range(count)]

    def marks(self):
        """{partition: the number of the next record}: it is not written yet."""
        return {partition: self.sent.get(partition, 0) for partition in self.partitions()}

    def stop(self):
        """{partition: its end}, when all is acknowledged."""
        self.stopping.set()
        self.thread.join()
        left = self.producer.flush(PATIENCE_SECONDS)
        assert left == 0 and not self.failures, f"{left} records without an outcome; {self.failures[:5]}"
        return self.marks()

    def abandon(self):
        self.stopping.set()
        self.thread.join()
        self.producer.purge()


class Troupe:
    """Processes of many groups beside each other, and what went wrong with each: who fails is waited for no more."""

    def __init__(self, cluster, folder, class_folder):
        self.cluster, self.folder, self.class_folder = cluster, str(folder), class_folder
        self.books, self.complaints = {}, {}
        # {(client, name): process}, those that run; and those that ran
        self.processes, self.past = {}, []
        self.measured = []
        # Groups whose members may end with an error; it ends the wait for any other.
        self.may_fail = set()

    def start(self, client, name, wanted, **settings):
        """`wanted`: see Process. kcat takes one group, so more of them mean more processes."""
        for index, one in enumerate(wanted):
            self.complaints.setdefault(one["group"], [])
            if client == "kcat":
                self.run(client, name, index, [one], settings)
        if client != "kcat":
            self.run(client, name, 0, wanted, settings)

    def run(self, client, name, index, wanted, settings):
        self.processes[client, name, index] = Process(
            client, name, self.cluster.bootstrap, wanted, self.books, self.folder, self.class_folder, **settings)

    def take(self, name, client=None):
        """The processes of this name, of one client or of all: they are for the caller to end."""
        keys = [key for key in self.processes if key[1] == name and client in (None, key[0])]
        taken = [self.processes.pop(key) for key in keys]
        self.past += taken
        return taken

    def leave(self, name, client=None):
        leaving = self.take(name, client)
        for process in leaving:
            process.ask_to_stop()
        for process in leaving:
            process.wait_end()

    def kill(self, name, client=None):
        for process in self.take(name, client):
            process.kill()

    def members(self, group):
        return {name for (_, name, _), process in self.processes.items() if group in process.groups}

    def end(self):
        for process in [*self.past, *self.processes.values()]:
            process.end()

    def wait_for_all(self, what, probe, groups=None):
        """probe(group) for every group that is whole; notes how long the last of them took."""
        start = time.monotonic()
        waiting = {group for group in groups or self.complaints if not self.complaints[group]}

        def are_there():
            waiting.difference_update([group for group in waiting if probe(group)])
            failed = {group for group in waiting if group not in self.may_fail and self.books[group].failures()}
            for group in failed:
                self.complaints[group].append(f"{what}: {self.books[group].state()}")
            waiting.difference_update(failed)
            return not waiting
        try:
            wait_until(what, are_there)
        except AssertionError:
            for group in waiting:
                self.complaints[group].append(f"{what}: {self.books[group].state()}")
        self.measured.append(f"{what}: {time.monotonic() - start:.1f} s")

    def wait_steady(self, what, numbers, wanted=None):
        """Each partition has one owner, and while nothing changes every record is read by exactly one member.

        `wanted`: {group: its partitions}; all of `numbers`' in all groups, where it is not said.
        """
        windows = {}
        everything = dict.fromkeys(self.complaints, numbers.partitions())
        wanted = wanted or everything
        self.wait_for_all(
            what, lambda group: self.is_steady(group, set(wanted[group]), numbers, windows, what), list(wanted))

    def is_steady(self, group, partitions, numbers, windows, what):
        book = self.books[group]
        with book.lock:
            if not book.is_shared(self.members(group), partitions):
                windows.pop(group, None)
                return False
            changes, firsts = windows.get(group, (-1, {}))
            if changes != book.changes:
                marks = numbers.marks()
                windows[group] = (book.changes, {partition: marks[partition] for partition in partitions})
                return False
            if not book.has_read({partition: first + WINDOW for partition, first in firsts.items()}):
                return False
            for partition, first in firsts.items():
                times = book.times_read(partition, first, first + WINDOW)
                if set(times.values()) != {1}:
                    self.complaints[group].append(f"{what}: {partition}: times read {times}")
            return True
