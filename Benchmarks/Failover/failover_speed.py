# How long nobody's record is acknowledged when a node dies, freezes or is cut off, and how soon a node serves.
#
# Three nodes, RF 3, acks=all, flush.mode=sync. A round makes a topic, writes one record after the other, lets one node
# fall silent at a random moment, and takes the longest pause between two acknowledged records. Then the node comes
# back, and the next round begins when every replica is in sync again. Two clients, in turns:
#   light driver   waits 2 ms at most of its own (light_client.py): what the cluster needs
#   librdkafka     with its own defaults, 100 ms between tries: what its users see (kill -9 alone; a frozen node it
#                  waits for by its own timeouts of a minute)
# A partition is a node's port taken off the bridge between network namespaces (namespaces.py; needs root).
#
# --steady MINUTES measures something else: that nobody fails over at 80 % of the full load (steady.py).

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "IntegrationTests"))

import cluster as nodes  # noqa: E402
from librdkafka_client import LibrdkafkaClient  # noqa: E402
from light_client import LightClient  # noqa: E402
from namespaces import NamespacedCluster, Network  # noqa: E402
from rounds import Cut, Kill, Round, Stop  # noqa: E402
from starts import fill, first_ack, idle_memory  # noqa: E402
from steady import DEFAULTS, measure_steady, print_steady  # noqa: E402

MIB = 1 << 20
FAULTS = {"kill": Kill, "stop": Stop, "cut": Cut}
CASES = ["kill-leader", "kill-controller", "kill-both", "stop-leader", "stop-controller", "cut-leader",
         "cut-controller", "librdkafka-kill-leader", "librdkafka-kill-controller"]
# Of gaps in seconds: (case, percentile, at most).
AIMS = [("kill-leader", 50, 0.1), ("kill-leader", 99, 0.4), ("stop-leader", 99, 2.5), ("stop-controller", 99, 2.5)]
START_AIM_S, IDLE_AIM_BYTES = 0.08, 32 * MIB
RESTART_RECORDS = 20_000


def percentile(values, percent):
    """The nearest rank: with fewer than a hundred values the 99th is the greatest."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def rounds_of(case, count, folder):
    """Gaps in seconds, and the driver's own granularity: how late it may have heard of a new leader."""
    words = case.split("-")
    fault, role = FAULTS[words[-2]], words[-1]
    network = Network(3) if fault is Cut else None
    cluster, client = None, None
    try:
        if network:
            network.start()
            cluster = NamespacedCluster(folder, network)
        else:
            cluster = nodes.Cluster(folder, 3)
        cluster.start()
        if words[0] == "librdkafka":
            client = LibrdkafkaClient(cluster)
        else:
            client = LightClient({number: node.address for number, node in cluster.nodes.items()})
        strike = Cut(network) if network else fault
        gaps = [Round(cluster, client, strike, role).run() for _ in range(count)]
        return gaps, list(getattr(client, "waits", []))
    finally:
        if client:
            client.end()
        if cluster:
            cluster.end()
        if network:
            network.end()


def measure_starts(count, folder):
    """Each on a fresh directory, and again on that directory after kill -9, with data."""
    fresh, again, idle, idle_again = [], [], [], []
    for number in range(count):
        one = nodes.Cluster(os.path.join(folder, f"one-{number}"), 1)
        node = one[1]
        try:
            fresh.append(first_ack(node))
            if number < 2:
                idle.append(idle_memory(node))
            fill(node, RESTART_RECORDS)
            node.kill()
            again.append(first_ack(node))
            if number < 2:
                idle_again.append(idle_memory(node))
        finally:
            one.end()
    return {"fresh": fresh, "restart": again, "idle_bytes": max(idle), "idle_bytes_restart": max(idle_again)}


def commit():
    """What runs; a report that changes is no change of it."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    changed = git("status", "--porcelain", "--", "Sources", "Package.swift", "Benchmarks/Failover")
    return git("rev-parse", "--short=12", "HEAD") + (", changed" if changed else "")


class Results:
    """What was measured, in a file after every case when it is a long run, so that it can be gone on with."""

    def __init__(self, path, count):
        self.path = path
        self.found = {"bench": "failover", "commit": commit(), "rounds": count, "gaps_s": {}, "granularity_s": []}
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                before = json.load(file)
            if before.get("commit") == self.found["commit"] and not before.get("is_complete"):
                self.found = before | {"rounds": count}

    def missing(self, case, count):
        return count - len(self.found["gaps_s"].get(case, []))

    def add(self, case, gaps, waits):
        self.found["gaps_s"].setdefault(case, []).extend(round(gap, 6) for gap in gaps)
        self.found["granularity_s"].extend(round(wait, 6) for wait in waits)
        self.save()

    def save(self):
        self.found["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        self.found["load"] = os.getloadavg()[0]
        if self.path:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path, "w", encoding="utf-8") as file:
                json.dump(self.found, file, indent=1)
                file.write("\n")


CHUNK = 10  # rounds on one cluster; a long run that is ended loses no more than these


def measure(arguments):
    results = Results(arguments.report, arguments.rounds)
    for case in arguments.cases:
        while (left := results.missing(case, rounds_for(case, arguments))) > 0:
            count = min(left, CHUNK)
            with tempfile.TemporaryDirectory(prefix="failover-", dir=arguments.folder) as folder:
                results.add(case, *rounds_of(case, count, folder))
            if arguments.report:
                print(f"{case}: {len(results.found['gaps_s'][case])} rounds", file=sys.stderr, flush=True)
    if arguments.starts and "starts" not in results.found:
        with tempfile.TemporaryDirectory(prefix="starts-", dir=arguments.folder) as folder:
            results.found["starts"] = measure_starts(arguments.starts, folder)
    results.found["is_complete"] = True
    results.save()
    return results.found


def rounds_for(case, arguments):
    """librdkafka is there for comparison: a third of the rounds."""
    return -(-arguments.rounds // 3) if case.startswith("librdkafka") else arguments.rounds


def print_gaps(found):
    print(f"Failover: three nodes, RF 3, acks=all, flush.mode=sync, one record in flight; load {found['load']:.1f}.")
    print("Gap: the longest pause between two acknowledged records, ms.\n")
    print(f"{'what falls silent':<30}{'rounds':>7}{'least':>9}{'p50':>9}{'p99':>9}{'most':>9}")
    for case, gaps in found["gaps_s"].items():
        row = [min(gaps), percentile(gaps, 50), percentile(gaps, 99), max(gaps)]
        print(f"{case:<30}{len(gaps):>7}" + "".join(f"{value * 1e3:>9.1f}" for value in row))
    waits = found["granularity_s"]
    if waits:
        print(f"\nThe light driver heard of a new leader at most {percentile(waits, 50) * 1e3:.1f} ms late "
              f"(median; worst {max(waits) * 1e3:.1f}).")


def print_starts(starts):
    print(f"\n{'exec to first ack, ms':<30}{'connect':>9}{'answer':>9}{'leader':>9}{'ack':>9}{'worst':>9}")
    for name, rows in (("fresh directory", starts["fresh"]),
                       (f"{RESTART_RECORDS:,} records, kill -9", starts["restart"])):
        steps = ["connected", "answered", "leader", "acknowledged"]
        print(f"{name:<30}" + "".join(f"{percentile([r[s] for r in rows], 50) * 1e3:>9.1f}" for s in steps)
              + f"{max(row['acknowledged'] for row in rows) * 1e3:>9.1f}")
    print(f"\nResident when idle: {starts['idle_bytes'] / MIB:.1f} MiB fresh, "
          f"{starts['idle_bytes_restart'] / MIB:.1f} MiB after the restart.")


def print_aims(found):
    print()
    for case, percent, at_most in AIMS:
        if gaps := found["gaps_s"].get(case):
            tell(f"{case} p{percent}", percentile(gaps, percent) * 1e3, at_most * 1e3, "ms")
    if starts := found.get("starts"):
        acks = [row["acknowledged"] for row in starts["fresh"]]
        tell("start to first ack, fresh, p50", percentile(acks, 50) * 1e3, START_AIM_S * 1e3, "ms")
        tell("idle node, fresh", starts["idle_bytes"] / MIB, IDLE_AIM_BYTES / MIB, "MiB")


def tell(what, found, at_most, unit):
    print(f"{'holds' if found <= at_most else 'MISSED':<7} {what}: {found:.1f} {unit}, aim {at_most:.0f} {unit}")


def steady(arguments):
    with tempfile.TemporaryDirectory(prefix="steady-", dir=arguments.folder) as folder:
        cluster = nodes.Cluster(folder, 3, DEFAULTS)
        try:
            found = measure_steady(cluster, arguments.steady, arguments.load, arguments.report)
        finally:
            cluster.end()
    if arguments.json:
        print(json.dumps(found))
    else:
        print_steady(found)


def main():
    parser = argparse.ArgumentParser(description="Gaps between acknowledged records when a node falls silent.")
    parser.add_argument("--rounds", type=int, default=8, help="of each case")
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES, metavar="CASE", help=" ".join(CASES))
    parser.add_argument("--starts", type=int, default=8, help="0: none")
    parser.add_argument("--report", help="JSON, written after every ten rounds; an unfinished one is gone on with")
    parser.add_argument("--steady", type=float, metavar="MINUTES", help="counts false failovers under load instead")
    parser.add_argument("--load", type=float, default=0.8, help="the share of full load, for --steady")
    parser.add_argument("--folder", help="where the nodes' data lies meanwhile")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.steady:
        steady(arguments)
        return
    if os.geteuid() != 0:
        print("no root: the cuts are left out", file=sys.stderr)
        arguments.cases = [case for case in arguments.cases if not case.startswith("cut")]
    found = measure(arguments)
    if arguments.json:
        print(json.dumps(found))
        return
    print_gaps(found)
    if "starts" in found:
        print_starts(found["starts"])
    print_aims(found)


if __name__ == "__main__":
    main()
