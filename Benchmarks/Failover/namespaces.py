# Nodes in network namespaces of their own, on a bridge that this program makes, so that a node can be cut off as by a
# pulled cable: its port is taken off the bridge, packets vanish in both directions, and nobody is told. Needs root.

import fcntl
import itertools
import os
import socket
import struct
import subprocess

import cluster

SIOCBRADDIF, SIOCBRDELIF = 0x89A2, 0x89A3
turns = itertools.count()


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """A bridge that the driver sits on, and a namespace with one address for each node."""

    def __init__(self, count):
        # A namespace goes a moment after its deletion, so names are not used twice.
        self.tag = f"m{os.getpid() % 100_000}{'abcdefghijklmnopqrstuvwxyz'[next(turns) % 26]}"
        self.bridge = f"{self.tag}b"
        self.prefix = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.numbers = range(1, count + 1)
        self.made = []

    def start(self):
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.prefix}.254/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        for number in self.numbers:
            space, port = self.space(number), self.port(number)
            ip("netns", "add", space)
            self.made.append(space)
            ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", space, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
            ip("link", "set", port, "master", self.bridge, "up")

    def end(self):
        # The links by name too: sockets that still wait for a lost peer keep a namespace alive for minutes.
        links = [self.port(number) for number in self.numbers] + [self.bridge]
        for words in [["link", "del", name] for name in links] + [["netns", "del", space] for space in self.made]:
            subprocess.run(["ip", *words], check=False, capture_output=True)

    def space(self, number):
        return f"{self.tag}n{number}"

    def port(self, number):
        return f"{self.tag}p{number}"

    def address(self, number):
        return f"{self.prefix}.{number}"

    def attach(self, number, is_attached):
        """One call of the kernel, not a program that takes milliseconds to start."""
        request = struct.pack("16si20x", self.bridge.encode(), socket.if_nametoindex(self.port(number)))
        with socket.socket() as control:
            fcntl.ioctl(control, SIOCBRADDIF if is_attached else SIOCBRDELIF, request)


class NamespacedCluster(cluster.Cluster):
    """Nodes 1 to `count`, each in its namespace."""

    def __init__(self, folder, network):
        super().__init__(folder, len(network.numbers))
        with open(self.config, encoding="utf-8") as file:
            text = file.read()
        for number, node in self.nodes.items():
            address = network.address(number)
            text = text.replace(f"id: {number}, host: 127.0.0.1", f"id: {number}, host: {address}")
            node.address = (address, node.address[1])
            node.wrapper = ["ip", "netns", "exec", network.space(number)]  # becomes the node: the pid stays
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)
        self.bootstrap = ",".join(f"{host}:{port}" for host, port in (node.address for node in self.nodes.values()))
