# The parts of the lab: how each is run in its short form, and which of its figures is aimed at what.

import json
import math
from dataclasses import dataclass, field

MIB, KIB = 1 << 20, 1 << 10


@dataclass
class Aim:
    what: str
    measured: float
    limit: float
    is_most: bool = True  # else the limit is the least
    digits: int = 2

    def row(self):
        # JSON has no infinity: what never came is told as a very large figure.
        measured = self.measured if math.isfinite(self.measured) else 1e9
        holds = measured <= self.limit if self.is_most else measured >= self.limit
        return {"what": self.what, "measured": round(measured, 4), "limit": round(self.limit, 4),
                "is_most": self.is_most, "holds": holds, "digits": self.digits}


def percentile(values, percent):
    """The nearest rank: with fewer than a hundred values the 99th is the greatest."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def ingest(found):
    for row in found["batches"]:
        if "holds" in row:
            yield Aim(f"batches of {row['batch_bytes'] >> 10} KiB: CPU, x the loop in C", row["ratio_cpu"], 1.25)
    for row in found["requests"]:
        if "holds" in row:
            what = f"100 B a request, {row['in_flight']} in flight: requests/CPU s, x the loop"
            yield Aim(what, row["ratio_requests_per_cpu_s"], 0.6, is_most=False)


def replicated(found):
    for row in found["partitions"]:
        name, mock = f"librdkafka, {row['partitions']} partition{'s' * (row['partitions'] > 1)}", row["mock"]
        if found["loop_cpu_s_per_gb"]:
            cpu = row["sync"]["node_cpu_s_per_gb"]
            yield Aim(f"{name}, RF 3 sync: CPU, x the loop in C", cpu / found["loop_cpu_s_per_gb"], 5)
        for key, nodes, least in (("one", "one node async", 0.7), ("sync", "RF 3 sync", 0.35)):
            share = row[key]["records_per_s"] / mock["records_per_s"]
            yield Aim(f"{name}, {nodes}: records/s, x the mock cluster", share, least, is_most=False)


def latency(found):
    for row in found["cases"]:
        if aim := row.get("aim"):
            rate = row["records_per_s"]
            what = (f"{row['value_bytes']} B at {rate:,}/s: p99 of ack, us (3 x fdatasync's + 1 ms)" if rate else
                    f"{row['value_bytes']} B, one in flight: p50 of ack, us (fdatasync's + 250)")
            yield Aim(what, aim["value_us"], aim["limit_us"], digits=0)


def read(found):
    for row in found["cases"]:
        if aim := row.get("aim"):
            who = f"tail by {row['readers']} consumers: CPU, x sendfile"
            yield Aim(f"{who} as fast as it goes", row["ratio_cpu"], aim["ratio_max"])
            yield Aim(f"{who} at the same times", row["ratio_cpu_in_time"], aim["ratio_max"])


def failover(found):
    gaps = found["gaps_s"]
    for case, percent, at_most_ms in (("kill-leader", 50, 100), ("kill-leader", 99, 400), ("stop-leader", 99, 2_500),
                                      ("stop-controller", 99, 2_500)):
        what = f"{case.replace('-', ' a ')}: gap between acks, p{percent}, ms ({len(gaps[case])} rounds)"
        yield Aim(what, percentile(gaps[case], percent) * 1e3, at_most_ms, digits=1)
    starts = found["starts"]
    yield Aim("start of a fresh node to first ack, p50, ms",
              percentile([row["acknowledged"] for row in starts["fresh"]], 50) * 1e3, 80, digits=1)
    yield Aim("idle node, fresh: resident, MiB", starts["idle_bytes"] / MIB, 32, digits=1)


def steady(found):
    yield Aim(f"false failovers in {found['minutes']:g} minutes at {found['share']:.0%} of full load (aim: 30)",
              found["failovers"], 0, digits=0)


def scale(found):
    for row in found["partitions"]:
        if row["partitions"] == 10_000:
            rejoin = row["rejoin_s"]
            yield Aim("10,000 partitions: memory of a replica, KiB", row["bytes_per_replica"] / KIB, 16, digits=1)
            yield Aim("10,000 partitions: a node's start to all in sync, s", math.inf if rejoin is None else rejoin, 5,
                      digits=1)


def micro_lines(text):
    """`micro-speed time` prints nanoseconds and name of each operation."""
    rows = [line.split("\t", 1) for line in text.splitlines()]
    return {"bench": "micro", "ns": {name: int(ns) for ns, name in rows}}


def none(_):
    return []


@dataclass
class Part:
    """`{python}` and `{folder}` in a command are filled in. The programs find the node's binary by MARTLET and
    MARTLET_BIN."""
    command: list
    aims: object
    products: list = field(default_factory=list)
    read: object = json.loads


def program(name, words):
    return [f".build/release/{name}", *words.split()]


def script(path, words):
    return ["{python}", f"Benchmarks/{path}", *words.split()]


# The largest last: an ext4 without journal is slow to make files for minutes after many were deleted.
PARTS = {
    "ingest": Part(program("ingest-speed", "--json --rounds 5 --megabytes 256 --folder {folder}"), ingest,
                   ["ingest-speed"]),
    "light": Part(program("ingest-speed", "replicated --json --rounds 1 --folder {folder}"), none, ["ingest-speed"]),
    "replicated": Part(script("Replicated/replicated_speed.py",
                              "--json --rounds 3 --partitions 1 6 --modes sync --folder {folder}"), replicated,
                       ["ingest-speed"]),
    "latency": Part(program("latency-speed", "--json --modes sync --rates 0,5000 --rounds 5 --folder {folder}"),
                    latency, ["latency-speed"]),
    "read": Part(program("read-speed", "--json --tail 5 --hot 1 --written 0 --cold 0 --rounds 5 --folder {folder}"),
                 read, ["read-speed"]),
    "micro": Part(program("micro-speed", "time 3"), none, ["micro-speed"], micro_lines),
    "failover": Part(script("Failover/failover_speed.py",
                            "--json --rounds 8 --cases kill-leader stop-leader stop-controller --folder {folder}"),
                     failover),
    "steady": Part(script("Failover/failover_speed.py", "--json --steady 2 --folder {folder}"), steady,
                   ["ingest-speed"]),
    "scale": Part(script("Scale/scale_speed.py",
                         "--json --partitions 10000 --connections 1000 --patience 30 --folder {folder}"), scale),
}
