# aiokafka.

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from clients import PATIENCE_SECONDS, Record, by_partition


class AioClient:
    name = "aiokafka"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap.split(",")

    def list_topics(self):
        return sorted(asyncio.run(self.with_admin(lambda admin: admin.list_topics())))

    def create_topic(self, topic, partitions):
        # Its CreateTopics is version 3, where -1 partitions or replicas do not exist yet: both are said.
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=3)
        response = asyncio.run(self.with_admin(lambda admin: admin.create_topics([wanted])))
        errors = [error for error in response.topic_errors if error[1] != 0]
        if errors:
            raise RuntimeError(f"aiokafka: {errors}")

    async def with_admin(self, work):
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()

    def produce(self, topic, partition, records, codec, acks, idempotent):
        return asyncio.run(self.send(topic, partition, records, codec, acks, idempotent))

    async def send(self, topic, partition, records, codec, acks, idempotent):
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, compression_type=None if codec == "none" else codec,
            acks=acks if acks == "all" else int(acks), enable_idempotence=idempotent, linger_ms=5)
        await producer.start()
        try:
            futures = [
                await producer.send(topic, value=r.value, key=r.key, headers=list(r.headers), partition=partition,
                                    timestamp_ms=r.timestamp)
                for r in records]
            reports = await asyncio.wait_for(asyncio.gather(*futures), PATIENCE_SECONDS)
        finally:
            await producer.stop()
        return [report.offset for report in reports] if acks != "0" else None

    def consume(self, topic, partitions, count):
        return asyncio.run(self.receive(topic, partitions, count))

    async def receive(self, topic, partitions, count):
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="none")
        await consumer.start()
        try:
            assigned = [TopicPartition(topic, partition) for partition in partitions]
            consumer.assign(assigned)
            await consumer.seek_to_beginning(*assigned)
            found, deadline = [], time.monotonic() + PATIENCE_SECONDS
            while len(found) < count and time.monotonic() < deadline:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += [
                        (r.partition, r.offset, Record(r.value, r.key, tuple(r.headers), r.timestamp)) for r in batch]
        finally:
            await consumer.stop()
        return by_partition(partitions, found)

    def close(self):
        pass
