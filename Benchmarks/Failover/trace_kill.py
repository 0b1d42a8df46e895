# One kill -9 of a leader, step by step: what the light driver saw and what the nodes logged, on one clock.
# With --strace also the nodes' system calls of the network and the disk, in files beside the logs.

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "IntegrationTests"))

import cluster as nodes  # noqa: E402
from conditions import wait_until  # noqa: E402
from light_client import LightClient  # noqa: E402
from rounds import Kill, Round, Stop  # noqa: E402

LINE = re.compile(r"(\S+Z) (\S+)\s+node (\d)\s+(.*)")


def attach(cluster, folder):
    """strace on every thread of every node but the one that will die."""
    tracers = []
    for number, node in cluster.nodes.items():
        path = os.path.join(folder, f"strace-{number}.txt")
        tracers.append(subprocess.Popen(
            ["strace", "-f", "-ttt", "-T", "-yy", "-s", "64", "-e",
             "trace=network,write,writev,pwritev,fdatasync,fsync,epoll_wait,rename,close,openat", "-p",
             str(node.process.pid), "-o", path], stderr=subprocess.DEVNULL))
        wait_until("strace is attached", lambda n=node: traced(n))
    return tracers


def traced(node):
    with open(f"/proc/{node.process.pid}/status", encoding="utf-8") as file:
        return "TracerPid:\t0" not in file.read()


def logged(cluster, since):
    for node in cluster.nodes.values():
        for line in node.log().splitlines():
            if found := LINE.match(line):
                at = datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()
                if at >= since:
                    yield at, f"log of {found[3]}", found[4]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--role", default="leader", choices=["leader", "controller", "both"])
    options.add_argument("--fault", default="kill", choices=["kill", "stop"])
    options.add_argument("--rounds", type=int, default=3, help="the last one is told")
    options.add_argument("--strace", action="store_true")
    options.add_argument("--folder", help="keep logs and traces here")
    options = options.parse_args()
    folder = options.folder or tempfile.mkdtemp(prefix="failover-trace-")
    os.environ["MARTLET_LOG"] = "debug"
    cluster = nodes.Cluster(os.path.join(folder, f"nodes-{time.time_ns()}"), 3)
    client = LightClient({number: node.address for number, node in cluster.nodes.items()})
    tracers = []
    try:
        cluster.start()
        for number in range(options.rounds):
            one = Round(cluster, client, Kill if options.fault == "kill" else Stop, options.role)
            if options.strace and number == options.rounds - 1:
                tracers = attach(cluster, folder)
            gap = one.run()
            print(f"round {number}: gap {gap * 1e3:.1f} ms")
            events = list(client.events)
        offset = time.time() - time.monotonic()
        story = [(at + offset, "driver", text) for at, text in events if at > one.last_before - 0.01]
        story += [(one.last_before + offset, "driver", "last ack before"), (one.struck_at + offset, "driver", "STRIKE"),
                  (one.first_after + offset, "driver", "FIRST ACK AFTER")]
        story += logged(cluster, one.last_before + offset - 0.01)
        print(f"victim {one.victim}, replicas {one.replicas}, controller now {cluster.controller()}, "
              f"struck at {one.struck_at + offset:.6f}")
        for at, who, text in sorted(story):
            if at < one.first_after + offset + 0.05:
                print(f"{(at - one.struck_at - offset) * 1e3:9.1f} ms  {who:10} {text}")
    finally:
        client.end()
        for tracer in tracers:
            tracer.terminate()
            tracer.wait()
        cluster.end()


if __name__ == "__main__":
    main()
