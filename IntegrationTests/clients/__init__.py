# What a test asks of a client, whichever it is, and the records that all of them carry.
"""Every client here is a class with the same five methods; a test never knows which one it has:

    list_topics()                        names, sorted
    create_topic(topic, partitions)      replication factor: the cluster's default
    produce(topic, partition, records, codec, acks, idempotent)
                                         the acknowledged offsets, or None where the client does not tell
    consume(topic, partitions, count)    {partition: [Consumed]} from the beginning, by assigned partitions
    close()
"""

from dataclasses import dataclass, field

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

# How long a client may take for one call before a test gives up: generous, the machines are shared.
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Record:
    """What a producer gives and every consumer must give back byte for byte. No timestamp: the client's clock."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple = ()
    timestamp: int | None = None


@dataclass(frozen=True, order=True)
class Consumed:
    offset: int
    record: Record = field(compare=False)


def by_partition(partitions, triples):
    """{partition: [Consumed in the order received]} of (partition, offset, record)."""
    result = {partition: [] for partition in partitions}
    for partition, offset, record in triples:
        result[partition].append(Consumed(offset, record))
    return result
