# Three nodes, replication factor 3, acks=all, flush.mode=sync, through librdkafka: records a second, and the CPU seconds
# of all nodes together for a produced gigabyte.
#
# Two yardsticks run in the same call, because the machines are noisy:
#   one node    the same records by the same client settings into one node, replication factor 1, flush.mode=async
#   three loops three times the CPU of ingest-speed's loop in C (receive, check the CRC, append, answer): the least that
#               three copies of a gigabyte cost, without their replication, their disk or the client's smaller batches
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

from cluster import Cluster  # noqa: E402

VALUE_BYTES = 1_024


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


def check(cluster, topic, partitions, records):
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "bench"})
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in range(partitions)]
    consumer.close()
    assert sum(ends) == records, f"{records} records were produced, {ends} are in {topic}"


def run(cluster, topic, partitions, mode, records):
    """Produces once into a new topic, which is deleted behind it: memory is bounded, and warm for the next run."""
    replicas = sorted(cluster.nodes)
    turns = [p % len(replicas) for p in range(partitions)]
    spread = [replicas[turn:] + replicas[:turn] for turn in turns]
    cluster.create_topic(topic, assignments=spread, configs=[("flush.mode", mode)])
    cluster.wait_isr_full(topic)
    value = random.randbytes(VALUE_BYTES)
    producer = Producer({
        "bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
        "batch.size": 1_000_000, "queue.buffering.max.messages": 200_000, "sticky.partitioning.linger.ms": 10})
    producer.list_topics(topic, timeout=30)
    nodes, client, began = cpu_seconds(cluster), client_seconds(), time.monotonic()
    for number in range(records):
        while True:
            try:
                producer.produce(topic, value)
                break
            except BufferError:
                producer.poll(0.01)
        if number % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0, "records were left after two minutes"
    seconds = time.monotonic() - began
    client = client_seconds() - client
    nodes = settled(cluster) - nodes
    check(cluster, topic, partitions, records)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.delete_topics([topic])[topic].result(30)
    gigabytes = records * VALUE_BYTES / 1e9
    return {
        "records_per_s": records / seconds, "mb_per_s": gigabytes * 1e3 / seconds,
        "node_cpu_s_per_gb": nodes / gigabytes, "client_cpu_s_per_gb": client / gigabytes}


def median(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def three_loops():
    """Three times the C loop's CPU seconds a gigabyte, at batches of 1 MiB; None where it is not built."""
    binary = os.path.join(ROOT, ".build/release/ingest-speed")
    if not os.path.exists(binary):
        return None
    output = subprocess.run([binary, "--json", "--batches", "1024"], cwd=ROOT, capture_output=True, check=True).stdout
    return 3 * json.loads(output)["batches"][0]["yardstick"]["cpu_s_per_gb"]


def measure(arguments):
    results = []
    with tempfile.TemporaryDirectory(prefix="replicated-speed-") as folder:
        three = Cluster(os.path.join(folder, "three"), 3)
        one = Cluster(os.path.join(folder, "one"), 1)
        try:
            three.start()
            one.start()
            for partitions in arguments.partitions:
                runs = {"three": [], "one": []}
                for number in range(arguments.rounds + 1):
                    topic = f"bench-{partitions}-{number}"
                    alone = run(one, topic, partitions, "async", arguments.records)
                    replicated = run(three, topic, partitions, "sync", arguments.records)
                    if number > 0:  # the first pair warms up
                        runs["one"].append(alone)
                        runs["three"].append(replicated)
                results.append((partitions, median(runs["one"]), median(runs["three"])))
        finally:
            three.end()
            one.end()
    return results


def print_table(results, loops, arguments):
    print(f"Replicated: {arguments.records:,} records of 1 KiB by librdkafka (idempotent, acks=all,")
    print(f"linger 5 ms, batches up to 1 MB); medians of {arguments.rounds} interleaved runs, "
          f"load {os.getloadavg()[0]:.1f}.")
    print("Ratio: the nodes' CPU beside one node's, which takes the same records.\n")
    print(f"{'partitions, nodes':<26}{'records/s':>10}{'MB/s':>7}{'client CPU':>12}{'nodes CPU':>11}{'ratio':>7}")
    print(f"{'':<43}{'s/GB':>12}{'s/GB':>11}{'':>7}")
    for partitions, one, three in results:
        for name, figures in (("1 node, RF 1, async", one), ("3 nodes, RF 3, sync", three)):
            ratio = figures["node_cpu_s_per_gb"] / one["node_cpu_s_per_gb"]
            print(f"{f'{partitions}: {name}':<26}{figures['records_per_s']:>10,.0f}{figures['mb_per_s']:>7.0f}"
                  f"{figures['client_cpu_s_per_gb']:>12.2f}{figures['node_cpu_s_per_gb']:>11.2f}{ratio:>7.2f}")
    if loops is not None:
        print(f"\n{'3 x the loop in C':<43}{'':>12}{loops:>11.2f}")


def main():
    parser = argparse.ArgumentParser(description="Three nodes, RF 3, acks=all, flush.mode=sync, through librdkafka.")
    parser.add_argument("--records", type=int, default=250_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partitions", type=int, nargs="+", default=[1, 6])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    loops = three_loops()
    results = measure(arguments)
    if arguments.json:
        print(json.dumps({
            "bench": "replicated", "records": arguments.records, "three_loops_cpu_s_per_gb": loops,
            "partitions": [{"partitions": p, "one_node": one, "three_nodes": three} for p, one, three in results]}))
    else:
        print_table(results, loops, arguments)


if __name__ == "__main__":
    main()
