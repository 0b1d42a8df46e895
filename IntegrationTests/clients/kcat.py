# kcat: librdkafka 2.0 on the command line, as Debian ships it.

import itertools
import os
import re
import subprocess
import tempfile

from clients import PATIENCE_SECONDS, Record, by_partition

# After each record's headers, which come without a length.
END = b"\x1e<end>\x1e\n"
FORMAT = r"%p %o %T %K %S %k%s%h\x1e<end>\x1e\n"


class KcatClient:
    name = "kcat"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def run(self, *arguments):
        command = ["kcat", "-b", self.bootstrap, "-m", str(PATIENCE_SECONDS), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_SECONDS * 2)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def list_topics(self):
        return sorted(re.findall(r'topic "([^"]+)" with', self.run("-L").decode()))

    def create_topic(self, topic, partitions):
        """By auto-creation, the only way kcat has: the number of partitions is the cluster's num.partitions."""
        self.run("-L", "-t", topic, "-X", "allow.auto.create.topics=true")

    def produce(self, topic, partition, records, codec, acks, idempotent):
        """One kcat for records that share key and headers, which it takes once for all; each value is a file."""
        for _, alike in itertools.groupby(records, key=lambda record: (record.key, record.headers)):
            self.produce_alike(topic, partition, list(alike), codec, acks, idempotent)

    def produce_alike(self, topic, partition, records, codec, acks, idempotent):
        arguments = ["-P", "-t", topic, "-p", str(partition), "-z", codec, "-X", f"acks={acks}", "-X", "linger.ms=20",
                     "-X", f"enable.idempotence={str(idempotent).lower()}"]
        if records[0].key is not None:
            arguments += ["-k", records[0].key.decode()]
        for name, value in records[0].headers:
            arguments += ["-H", name if value is None else f"{name}={value.decode()}"]
        with tempfile.TemporaryDirectory() as folder:
            for number, record in enumerate(records):
                path = os.path.join(folder, str(number))
                with open(path, "wb") as file:
                    file.write(record.value)
                arguments.append(path)
            self.run(*arguments)

    def consume(self, topic, partitions, count):
        """Reads all partitions of the topic to their ends, so `count` records must be there already."""
        output = self.run("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-X", "check.crcs=true", "-f", FORMAT)
        return by_partition(partitions, [parse(part) for part in output.split(END)[:-1]])

    def close(self):
        pass


def parse(text):
    partition, offset, timestamp, key_length, value_length, rest = text.split(b" ", 5)
    key_size, value_size = max(int(key_length), 0), max(int(value_length), 0)
    key = rest[:key_size] if int(key_length) >= 0 else None
    value = rest[key_size:key_size + value_size] if int(value_length) >= 0 else None
    headers = rest[key_size + value_size:]
    return int(partition), int(offset), Record(value, key, headers, int(timestamp))


def printed_headers(headers):
    """Headers the way kcat prints them: it ends a value at a zero byte and does not tell null from the word."""
    return b",".join(
        name.encode() + b"=" + (b"NULL" if value is None else value.split(b"\0")[0]) for name, value in headers)
