# kafka-python 3.

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from clients import PATIENCE_SECONDS, Record, by_partition


class KafkaPythonClient:
    name = "kafka-python"

    def __init__(self, bootstrap):
        self.settings = {"bootstrap_servers": bootstrap.split(","), "metrics_enabled": False}

    def admin(self):
        return KafkaAdminClient(bootstrap_servers=self.settings["bootstrap_servers"])

    def list_topics(self):
        with self.admin() as admin:
            return sorted(admin.list_topics())

    def create_topic(self, topic, partitions):
        with self.admin() as admin:
            admin.create_topics({topic: {"num_partitions": partitions}}, timeout_ms=PATIENCE_SECONDS * 1000)

    def quorum(self):
        """The state of the metadata quorum as its admin client reads it."""
        with self.admin() as admin:
            return admin.describe_metadata_quorum()

    def produce(self, topic, partition, records, codec, acks, idempotent):
        producer = KafkaProducer(
            **self.settings, compression_type=None if codec == "none" else codec,
            acks=acks if acks == "all" else int(acks), enable_idempotence=idempotent, linger_ms=5,
            max_block_ms=PATIENCE_SECONDS * 1000)
        futures = [
            producer.send(topic, value=r.value, key=r.key, headers=list(r.headers), partition=partition,
                          timestamp_ms=r.timestamp)
            for r in records]
        producer.flush(timeout=PATIENCE_SECONDS)
        offsets = [future.get(timeout=PATIENCE_SECONDS).offset for future in futures]
        producer.close()
        return offsets if acks != "0" else None

    def consume(self, topic, partitions, count):
        consumer = KafkaConsumer(**self.settings, group_id=None, enable_auto_commit=False, auto_offset_reset="none")
        assigned = [TopicPartition(topic, partition) for partition in partitions]
        consumer.assign(assigned)
        consumer.seek_to_beginning(*assigned)
        found, deadline = [], time.monotonic() + PATIENCE_SECONDS
        while len(found) < count and time.monotonic() < deadline:
            for batch in consumer.poll(timeout_ms=200).values():
                found += [(r.partition, r.offset, Record(r.value, r.key, tuple(r.headers), r.timestamp)) for r in batch]
        consumer.close()
        return by_partition(partitions, found)

    def close(self):
        pass
