# confluent-kafka: librdkafka of today behind Python.

import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

from clients import PATIENCE_SECONDS, Record, by_partition


class ConfluentClient:
    name = "confluent"

    def __init__(self, bootstrap):
        self.settings = {"bootstrap.servers": bootstrap, "log_level": 0, "allow.auto.create.topics": False}

    def list_topics(self):
        return sorted(AdminClient(self.settings).list_topics(timeout=PATIENCE_SECONDS).topics)

    def create_topic(self, topic, partitions):
        # Held until the answer is there: its end would end the request.
        admin = AdminClient(self.settings)
        futures = admin.create_topics(
            [NewTopic(topic, num_partitions=partitions, replication_factor=-1)], operation_timeout=PATIENCE_SECONDS)
        futures[topic].result(timeout=PATIENCE_SECONDS)

    def produce(self, topic, partition, records, codec, acks, idempotent):
        settings = self.settings | {
            "compression.type": codec, "acks": acks, "enable.idempotence": idempotent, "linger.ms": 5,
            "message.timeout.ms": PATIENCE_SECONDS * 1000}
        del settings["allow.auto.create.topics"]
        producer = confluent_kafka.Producer(settings)
        reports = []
        for record in records:
            stamp = {} if record.timestamp is None else {"timestamp": record.timestamp}
            producer.produce(
                topic, value=record.value, key=record.key, partition=partition, **stamp,
                headers=list(record.headers), on_delivery=lambda error, message: reports.append((error, message)))
        left = producer.flush(PATIENCE_SECONDS)
        errors = [str(error) for error, _ in reports if error]
        if left or errors:
            raise RuntimeError(f"confluent: {left} records without an answer, errors: {errors}")
        return [message.offset() for _, message in reports] if acks != "0" else None

    def consume(self, topic, partitions, count):
        settings = self.settings | {"group.id": "never-joined", "enable.auto.commit": False, "check.crcs": True}
        consumer = confluent_kafka.Consumer(settings)
        start = confluent_kafka.OFFSET_BEGINNING
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, start) for partition in partitions])
        found, deadline = [], time.monotonic() + PATIENCE_SECONDS
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                raise RuntimeError(f"confluent: {message.error()}")
            found.append((message.partition(), message.offset(), Record(
                message.value(), message.key(), tuple(message.headers() or ()), message.timestamp()[1])))
        consumer.close()
        return by_partition(partitions, found)

    def close(self):
        pass
