# Three nodes, replication factor 3, acks=all, through librdkafka: records a second, and the CPU seconds of all nodes
# together for a produced gigabyte.
#
# Yardsticks that run in the same call, in turns with the nodes, because the machines are noisy:
#   mock        librdkafka's own mock cluster of three brokers in this process (test.mock.num.brokers): the same records
#               by the same settings, for records a second. Its topics have four partitions, so no more are written; it
#               keeps the last few megabytes in memory and has no disk
#   one node    the same records by the same client settings into one node, replication factor 1, flush.mode=async
#   loop in C   ingest-speed's: receive, check the CRC, append, answer; the CPU of one copy without any protocol, at
#               batches of 1 MiB (librdkafka's are at most as large)
#
# On a machine of two cores the client (Python, and a thread of librdkafka that polls without pause while it waits for
# answers) and the nodes take each other's time: the speed is that of this machine, the CPU seconds are the nodes' own.
# A run is kept below a gigabyte over all copies, because memory that is touched for the first time is much slower here.

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "IntegrationTests"))

from confluent_kafka import Consumer, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient  # noqa: E402

from cluster import Cluster, die_with_parent  # noqa: E402

VALUE_BYTES = 1_024
MOCK_PARTITIONS = 4
ONE_NODE_AIM, THREE_NODES_AIM, CPU_AIM = 0.7, 0.35, 5


def cpu_seconds(cluster):
    """User and system seconds of all nodes (clock_getcpuclockid(3), spelled out)."""
    return sum(time.clock_gettime((~node.process.pid << 3) | 2) for node in cluster.nodes.values())


def client_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def settled(cluster):
    """The nodes' CPU once they have nothing left to do."""
    before = cpu_seconds(cluster)
    for _ in range(100):
        time.sleep(0.1)
        now = cpu_seconds(cluster)
        if now - before < 0.02:
            break
        before = now
    return now


def check(bootstrap, topic, partitions, records):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "log_level": 3})
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in range(partitions)]
    consumer.close()
    assert sum(ends) == records, f"{records} records were produced, {ends} are in {topic}"


def producer_of(bootstrap, **settings):
    return Producer({
        "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
        "batch.size": 1_000_000, "queue.buffering.max.messages": 200_000, "sticky.partitioning.linger.ms": 10,
        "log_level": 3, **settings})


def produce(producer, topic, partitions, records):
    """One record ahead, which waits for connections and the producer's id; then the seconds until all the others are
    acknowledged, and what this process took for them."""
    value = random.randbytes(VALUE_BYTES)
    where = {"partition": 0} if partitions == 1 else {}
    producer.list_topics(topic, timeout=30)
    producer.produce(topic, value, **where)
    assert producer.flush(60) == 0, "the first record is left after a minute"
    client, began = client_seconds(), time.monotonic()
    for number in range(records - 1):
        while True:
            try:
                producer.produce(topic, value, **where)
                break
            except BufferError:
                producer.poll(0.01)
        if number % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0, "records were left after two minutes"
    seconds = time.monotonic() - began
    gigabytes = records * VALUE_BYTES / 1e9
    return {"records_per_s": records / seconds, "mb_per_s": gigabytes * 1e3 / seconds,
            "client_cpu_s_per_gb": (client_seconds() - client) / gigabytes}


def run_mock(topic, partitions, records):
    producer = producer_of("", **{"test.mock.num.brokers": 3})
    brokers = producer.list_topics(timeout=30).brokers.values()
    figures = produce(producer, topic, partitions, records)
    bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    check(bootstrap, topic, MOCK_PARTITIONS, records)
    return figures


def run_nodes(cluster, topic, partitions, mode, records):
    """Produces once into a new topic, which is deleted behind it: memory is bounded, and warm for the next run."""
    replicas = sorted(cluster.nodes)
    turns = [p % len(replicas) for p in range(partitions)]
    spread = [replicas[turn:] + replicas[:turn] for turn in turns]
    cluster.create_topic(topic, assignments=spread, configs=[("flush.mode", mode)])
    cluster.wait_isr_full(topic)
    nodes = settled(cluster)
    figures = produce(producer_of(cluster.bootstrap), topic, partitions, records)
    figures["node_cpu_s_per_gb"] = (settled(cluster) - nodes) / (records * VALUE_BYTES / 1e9)
    check(cluster.bootstrap, topic, partitions, records)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 3})
    admin.delete_topics([topic])[topic].result(30)
    return figures


def median(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def loop_in_c(folder):
    """Its CPU seconds a gigabyte at batches of 1 MiB; None where it is not built."""
    binary = os.path.join(ROOT, ".build/release/ingest-speed")
    if not os.path.exists(binary):
        return None
    command = [binary, "--json", "--batches", "1024", "--in-flight", "0", "--megabytes", "256", "--folder", folder]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, preexec_fn=die_with_parent).stdout
    return json.loads(output)["batches"][0]["yardstick"]["cpu_s_per_gb"]


def measure(arguments):
    """[(partitions, {name: medians})]; names are "mock", "one" and "sync" or "async" for three nodes."""
    results = []
    with tempfile.TemporaryDirectory(prefix="replicated-speed-", dir=arguments.folder) as folder:
        three = Cluster(os.path.join(folder, "three"), 3)
        one = Cluster(os.path.join(folder, "one"), 1)
        try:
            three.start()
            one.start()
            for partitions in arguments.partitions:
                runs = {name: [] for name in ["mock", "one", *arguments.modes]}
                for number in range(arguments.rounds + 1):
                    topic, records = f"bench-{partitions}-{number}", arguments.records
                    runs["mock"].append(run_mock(topic, partitions, records))
                    runs["one"].append(run_nodes(one, topic, partitions, "async", records))
                    for mode in arguments.modes:
                        runs[mode].append(run_nodes(three, f"{topic}-{mode}", partitions, mode, records))
                # The first of each warms up.
                results.append((partitions, {name: median(some[1:]) for name, some in runs.items()}))
        finally:
            three.end()
            one.end()
    return results


def aims(partitions, found, loop):
    """(what, figure, whether it holds)."""
    mock = found["mock"]["records_per_s"]
    share = found["one"]["records_per_s"] / mock
    yield f"one node async: records/s >= {ONE_NODE_AIM} x the mock cluster", share, share >= ONE_NODE_AIM
    if "sync" in found:
        share = found["sync"]["records_per_s"] / mock
        yield f"three nodes sync: records/s >= {THREE_NODES_AIM} x the mock cluster", share, share >= THREE_NODES_AIM
        if loop is not None:
            times = found["sync"]["node_cpu_s_per_gb"] / loop
            yield f"three nodes sync: CPU <= {CPU_AIM} x the loop in C", times, times <= CPU_AIM


def print_table(results, loop, load, arguments):
    print(f"Replicated: {arguments.records:,} records of 1 KiB by librdkafka (idempotent, acks=all, linger 5 ms,")
    print(f"batches up to 1 MB); medians of {arguments.rounds} interleaved runs, load {load:.1f} before and "
          f"{os.getloadavg()[0]:.1f} after.")
    print("Ratios: records/s beside librdkafka's mock cluster in its own process; the nodes' CPU beside one node's,")
    print("and beside the loop in C's, which takes a gigabyte once.\n")
    print(f"{'partitions':<11}{'':<21}{'records/s':>10}{'MB/s':>6}{'x mock':>8}{'client CPU':>12}{'nodes CPU':>11}"
          f"{'x one':>7}{'x loop':>8}")
    print(f"{'':<56}{'s/GB':>12}{'s/GB':>11}")
    names = {"mock": "mock cluster", "one": "1 node, RF 1, async", "sync": "3 nodes, RF 3, sync",
             "async": "3 nodes, RF 3, async"}
    for partitions, found in results:
        for name, figures in found.items():
            print(f"{partitions:>10} {names[name]:<21}{figures['records_per_s']:>10,.0f}{figures['mb_per_s']:>6.0f}"
                  f"{figures['records_per_s'] / found['mock']['records_per_s']:>8.2f}"
                  f"{figures['client_cpu_s_per_gb']:>12.2f}", end="")
            if cpu := figures.get("node_cpu_s_per_gb"):
                print(f"{cpu:>11.2f}{cpu / found['one']['node_cpu_s_per_gb']:>7.2f}"
                      + (f"{cpu / loop:>8.2f}" if loop else ""), end="")
            print()
    if loop is not None:
        print(f"\nThe loop in C: {loop:.2f} s/GB.")
    print()
    for partitions, found in results:
        for what, figure, holds in aims(partitions, found, loop):
            print(f"{'holds' if holds else 'MISSED':<7} {partitions} partitions, {what}: {figure:.2f}")


def main():
    parser = argparse.ArgumentParser(description="Three nodes, RF 3, acks=all, through librdkafka.")
    parser.add_argument("--records", type=int, default=250_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partitions", type=int, nargs="+", default=[1, 6, 60, 1_000])
    parser.add_argument("--modes", nargs="+", default=["sync", "async"], choices=["sync", "async"])
    parser.add_argument("--folder", help="where the nodes' data lies meanwhile")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    loop = loop_in_c(arguments.folder or tempfile.gettempdir())
    results = measure(arguments)
    if arguments.json:
        print(json.dumps({
            "bench": "replicated", "records": arguments.records, "rounds": arguments.rounds, "load_before": load,
            "load_after": os.getloadavg()[0], "loop_cpu_s_per_gb": loop,
            "partitions": [{"partitions": partitions, **found,
                            "aims": [{"what": what, "found": figure, "holds": holds}
                                     for what, figure, holds in aims(partitions, found, loop)]}
                           for partitions, found in results]}))
    else:
        print_table(results, loop, load, arguments)


if __name__ == "__main__":
    main()
