# Keys meet their earlier records whoever writes them: our partitioners against those of Java, kafka-python, librdkafka.

import random

import confluent_kafka
import pytest
from kafka import KafkaProducer

from clients import PATIENCE_SECONDS
from clients.java import JavaClient
from commands import Martlet
from workload import read_all

COUNT = 10_000
# A prime, so that an error in any bit of a hash shows in the remainder.
PARTITIONS = 17
# Between key and index in the lines that our client reads.
SEPARATOR = b"\x1f<=>\x1f"
# Without a key (and, to consistent_random, with an empty one) the partition is the producer's free choice.
OURS = {"murmur2": [], "murmur2-by-name": ["--partitioner", "murmur2"],
        "consistent-random": ["--partitioner", "consistent-random"], "consistent": ["--partitioner", "consistent"]}


def is_line(key):
    """Whether a line can carry the key: no line end in it, and the first separator is the one behind the key."""
    return b"\n" not in key and b"\r" not in key and (key + SEPARATOR).find(SEPARATOR) == len(key)


def make_keys():
    """The same on every run: every length up to 60 in several kinds of bytes, then random ones up to a few KB."""
    dice = random.Random(17)
    keys = [b""] + [bytes([byte]) for byte in range(256)]
    for length in range(1, 61):
        keys += [b"\x00" * length, b"\x7f" * length, b"\x80" * length, b"\xff" * length]
        keys += [bytes(dice.choices(range(0x80, 0x100), k=length)), dice.randbytes(length)]
        keys += [("äß€𝄞" * length).encode()[:length]]
    keys += [f"user-{number}".encode() for number in range(1000)]
    keys += ["".join(dice.choices("aé漢🦆", k=dice.randrange(1, 20))).encode() for _ in range(1000)]
    keys += [dice.randbytes(dice.randrange(1000, 5000)) for _ in range(100)]
    # No key twice: a set alone would lose the order.
    chosen = dict.fromkeys(key for key in keys if is_line(key))
    while len(chosen) < COUNT:
        key = dice.randbytes(dice.choice([1, 2, 3, 4, 5, 7, 8, 9, 16, 36, dice.randrange(10, 200)]))
        if is_line(key):
            chosen[key] = None
    return list(chosen)


KEYS = make_keys()


@pytest.fixture(scope="module")
def cluster(start_cluster):
    return start_cluster(count=3, timing_scale=4)


@pytest.fixture(scope="module")
def placement(cluster, java):
    """placement(name): the partition of each of KEYS, in their order, as the client of this name wrote them."""
    found = {}

    def place(name):
        if name not in found:
            topic = f"keys-{name}"
            cluster.create_topic(topic, partitions=PARTITIONS)
            write(name, topic)
            found[name] = read_placement(cluster, topic)
        return found[name]

    def write(name, topic):
        if name == "java":
            JavaClient(cluster.bootstrap, java).produce_by_key(topic, KEYS)
        elif name == "kafka-python":
            by_kafka_python(cluster, topic)
        elif name.startswith("librdkafka."):
            by_librdkafka(cluster, topic, name.partition(".")[2])
        else:
            by_martlet(cluster, topic, OURS[name])
    return place


def by_martlet(cluster, topic, options):
    lines = b"".join(key + SEPARATOR + b"%d\n" % index for index, key in enumerate(KEYS))
    said = Martlet(cluster.bootstrap, cluster.folder).run(
        "produce", topic, "--key-separator", SEPARATOR.decode(), *options, stdin=lines).stderr.decode()
    assert said == f"{COUNT} records written to {topic}\n"


def by_kafka_python(cluster, topic):
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap.split(","), linger_ms=5)
    for index, key in enumerate(KEYS):
        producer.send(topic, key=key, value=b"%d" % index)
    producer.flush(timeout=PATIENCE_SECONDS)
    producer.close()


def by_librdkafka(cluster, topic, partitioner):
    named = {"partitioner": partitioner} if partitioner != "default" else {}
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 5, **named})
    for index, key in enumerate(KEYS):
        producer.produce(topic, key=key, value=b"%d" % index)
    assert producer.flush(PATIENCE_SECONDS) == 0


def read_placement(cluster, topic):
    placed = {}
    for partition, records in read_all(cluster, topic).items():
        for _, value in records:
            assert int(value) not in placed, f"{topic}: key {int(value)} is there twice"
            placed[int(value)] = partition
    assert sorted(placed) == list(range(COUNT)), f"{topic}: {len(placed)} of {COUNT} keys are there"
    return [placed[index] for index in range(COUNT)]


def differences(one, other, keys):
    return [(key, one[index], other[index]) for index, key in enumerate(KEYS) if key in keys and
            one[index] != other[index]]


@pytest.mark.parametrize("ours, theirs", [
    ("murmur2", "java"), ("murmur2-by-name", "java"), ("murmur2", "kafka-python"),
    ("murmur2", "librdkafka.murmur2_random"), ("consistent-random", "librdkafka.default"),
    ("consistent", "librdkafka.consistent")])
def test_every_key_goes_where_others_send_it(placement, ours, theirs):
    mine, wanted = placement(ours), placement(theirs)
    keys = set(KEYS) - ({b""} if ours == "consistent-random" else set())
    assert len(keys) >= COUNT - 1
    wrong = differences(mine, wanted, keys)
    assert not wrong, (f"{len(wrong)} of {len(keys)} keys differ between {ours} and {theirs}; "
                       f"(key, ours, theirs): {[(key[:80], a, b) for key, a, b in wrong[:5]]}")


def test_keys_reach_every_partition_and_the_rules_differ(placement):
    """Else the agreement above would say nothing."""
    murmur2, consistent = placement("murmur2"), placement("consistent")
    assert set(murmur2) == set(consistent) == set(range(PARTITIONS))
    assert len(differences(murmur2, consistent, set(KEYS))) > COUNT // 2


@pytest.mark.parametrize("rule, empty_is_free", [("murmur2", False), ("consistent-random", True),
                                                 ("consistent", False)])
def test_an_empty_key_is_a_key_except_to_consistent_random(cluster, rule, empty_is_free):
    """Many batches of an empty key: in one partition where it is a key, and spread where it counts as none."""
    topic = f"empty-{rule}"
    cluster.create_topic(topic, partitions=PARTITIONS)
    lines = b"".join(b":%d %s\n" % (number, b"x" * 1000) for number in range(1000))
    Martlet(cluster.bootstrap, cluster.folder).run(
        "produce", topic, "--key-separator", ":", "--partitioner", rule, stdin=lines)
    used = [partition for partition, records in read_all(cluster, topic).items() if records]
    assert (len(used) > 1) == empty_is_free, used


def test_without_keys_consistent_uses_one_partition_and_murmur2_many(cluster):
    used = {}
    for rule in ("murmur2", "consistent"):
        topic = f"keyless-{rule}"
        cluster.create_topic(topic, partitions=PARTITIONS)
        Martlet(cluster.bootstrap, cluster.folder).run(
            "produce", topic, "--partitioner", rule, stdin=b"".join(b"%d %s\n" % (n, b"x" * 1000) for n in range(1000)))
        used[rule] = [partition for partition, records in read_all(cluster, topic).items() if records]
    # Where librdkafka's `consistent` puts a record without a key: the CRC-32 of nothing is 0.
    assert used["consistent"] == [0]
    assert len(used["murmur2"]) > 1
