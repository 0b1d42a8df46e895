# Real nodes: processes of the built binary, each with its own data directory, log and port, ended whatever happens.

import atexit
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time

import pytest

import wire
from conditions import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.path.abspath(os.path.join(ROOT, os.environ.get("MARTLET_BIN", ".build/release/martlet")))

# Below 32768, where the kernel's own outgoing ports begin: a connect to a dead port up there can meet itself.
PORTS = range(20_000, 32_000)
taken_ports = set()
running = set()


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in taken_ports:
            taken_ports.add(port)
            return port


def end_all():
    for process in list(running):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        running.discard(process)


atexit.register(end_all)


def die_with_parent():
    """In the child: a node must not outlive a pytest that was killed (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Node:
    """One node's process, by the arguments it is started with. Its log is one file over all its lives."""

    def __init__(self, number, address, folder, arguments, environment=None):
        self.id = number
        self.address = address
        self.folder = folder
        self.data = os.path.join(folder, f"node-{number}")
        self.log_path = os.path.join(folder, f"node-{number}.log")
        self.arguments = arguments
        self.wrapper = []  # a command that the node is started by
        self.environment = {**os.environ, "SWIFT_BACKTRACE": "enable=no", **(environment or {})}
        self.process = None

    def start(self):
        assert not self.is_alive(), f"node {self.id} runs already"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, BINARY, "start", *self.arguments], cwd=self.folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent)
        running.add(self.process)

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        assert self.is_alive(), f"node {self.id} is dead\n{self.tail()}"
        os.kill(self.process.pid, number)

    def kill(self):
        self.send(signal.SIGKILL)
        self.ended()

    def ended(self, seconds=60):
        """Waits for the end of the process and returns its exit code."""
        code = self.process.wait(timeout=seconds)
        running.discard(self.process)
        return code

    def stop(self):
        self.send(signal.SIGTERM)
        return self.ended()

    def pause(self):
        self.send(signal.SIGSTOP)
        wait_until(f"node {self.id} stands still", lambda: self.state() == "T")

    def resume(self):
        self.send(signal.SIGCONT)

    def state(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))

    def wipe(self):
        assert not self.is_alive()
        shutil.rmtree(self.data)

    def log(self, since=0):
        try:
            with open(self.log_path, "rb") as file:
                file.seek(since)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_size(self):
        return os.path.getsize(self.log_path)

    def tail(self, count=30):
        return "\n".join(self.log().splitlines()[-count:])

    def connect(self, timeout=30):
        return wire.Connection(self.address, timeout)

    def metadata(self, topics=None, auto_create=False):
        with self.connect(5) as connection:
            return wire.metadata(connection, topics, auto_create)

    def quorum(self):
        with self.connect(5) as connection:
            return wire.quorum(connection)

    def partition_bytes(self, topic, partition):
        """The log of a partition on this node's disk: its segments one after the other."""
        folder = os.path.join(self.data, f"{topic}-{partition}")
        content = b""
        for name in sorted(os.listdir(folder)):
            if name.endswith(".log"):
                with open(os.path.join(folder, name), "rb") as file:
                    content += file.read()
        return content


class Cluster:
    """Nodes 1 to `count` by a cluster.yaml of their own."""

    def __init__(self, folder, count=3, defaults=None, timing_scale=1):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.config = os.path.join(self.folder, "cluster.yaml")
        ports = [free_port() for _ in range(count)]
        lines = ["cluster: integration", "nodes:"]
        for number, port in enumerate(ports, 1):
            lines.append(f"  - {{id: {number}, host: 127.0.0.1, port: {port}, data: node-{number}}}")
        if defaults:
            lines.append("defaults:")
            lines += [f"  {key}: {value}" for key, value in defaults.items()]
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        environment = {"MARTLET_TIMING_SCALE": os.environ.get("MARTLET_TIMING_SCALE", str(timing_scale))}
        self.nodes = {
            number: Node(number, ("127.0.0.1", port), self.folder,
                         ["--config", self.config, "--node", str(number)], environment)
            for number, port in enumerate(ports, 1)}
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports)

    def advertise(self, number, address):
        """Before it starts: what that node tells clients instead of where it listens."""
        with open(self.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text.replace(f"data: node-{number}", f"data: node-{number}, advertised: '{address}'"))

    def __getitem__(self, number):
        return self.nodes[number]

    def start(self):
        for node in self.nodes.values():
            node.start()
        self.wait_ready()
        return self

    def alive(self):
        return [node for node in self.nodes.values() if node.is_alive()]

    def wait_ready(self):
        """Every node that runs knows every other one, and all agree on a controller."""
        expected_dead = [node for node in self.nodes.values() if not node.is_alive()]

        def is_ready():
            alive = self.alive()
            for node in self.nodes.values():
                if node.process is not None and not node.is_alive() and node not in expected_dead:
                    pytest.fail(f"node {node.id} ended with {node.process.returncode}:\n{node.tail()}")
            seen = [sorted(node.metadata([]).brokers) for node in alive]
            leaders = {node.quorum().leader for node in alive}
            ids = sorted(node.id for node in alive)
            return all(brokers == ids for brokers in seen) and len(leaders) == 1 and min(leaders) > 0
        wait_until("every node registered, one controller", is_ready)

    def any_node(self):
        return self.alive()[0]

    def controller(self, among=None):
        """The leader of the metadata quorum, as soon as there is one that runs."""
        def find():
            leader = (among or self.any_node()).quorum().leader
            return leader if leader > 0 and self.nodes[leader].is_alive() else None
        return wait_until("there is a controller", find)

    def create_topic(self, topic, assignments=None, partitions=-1, configs=()):
        def create():
            with self.any_node().connect() as connection:
                error, message = wire.create_topic(connection, topic, assignments, partitions, configs)
            # 36: an attempt whose answer was lost had created it.
            assert error in (0, 36), f"create {topic}: error {error} {message}"
            return True
        wait_until(f"topic {topic} created", create)

    def partitions(self, topic, node=None):
        found = (node or self.any_node()).metadata([topic]).topics[topic]
        assert found.error == 0, f"{topic}: error {found.error}"
        return found.partitions

    def leader(self, topic, partition):
        """The node that leads, once one does."""
        return self.nodes[wait_until(
            f"{topic}-{partition} has a leader", lambda: max(self.partitions(topic)[partition].leader, 0))]

    def wait_isr_full(self, topic):
        def is_full():
            for node in self.alive():
                for p in self.partitions(topic, node).values():
                    if p.leader < 0 or sorted(p.isr) != sorted(p.replicas):
                        raise ValueError(f"node {node.id} sees {p}")
            return True
        wait_until(f"every replica of {topic} is in sync", is_full)

    def end(self):
        for node in self.nodes.values():
            if node.process is not None and node.process.poll() is None:
                os.killpg(node.process.pid, signal.SIGKILL)
                node.process.wait()
            running.discard(node.process)

    def tails(self):
        return "\n".join(f"--- node {node.id} ({node.log_path})\n{node.tail()}" for node in self.nodes.values())


def observe(seconds, probe):
    """Asks `probe` again and again for a while, for what must never be seen; returns how often it answered."""
    answers, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        probe()
        answers += 1
        time.sleep(0.02)
    return answers
