# What a test asks of a client about groups, whichever it is: a simple consumer's commits, and the calls of its admin.
"""Partitions are (topic, index), offsets {partition: (offset, metadata)}; GroupError has Kafka's name of the error.

A client may lack a method; then it is None there.
"""

import asyncio

import confluent_kafka
import kafka
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioPartition
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka.errors import KafkaError, NoError

from clients import PATIENCE_SECONDS


class GroupError(Exception):
    pass


def as_written(client, offsets):
    """What everyone else finds when this client has committed these."""
    end = "\0" if client == "confluent" else ""
    return {p: (offset, metadata and metadata + end) for p, (offset, metadata) in offsets.items()}


class ConfluentGroups:
    """It commits metadata with a zero byte behind it, and reads beyond the end of metadata that has none."""

    name = "confluent"
    delete_offset = None

    def __init__(self, bootstrap):
        self.settings = {"bootstrap.servers": bootstrap, "log_level": 0}
        self.admin = AdminClient(self.settings)

    def result(self, future):
        try:
            return future.result(timeout=PATIENCE_SECONDS)
        except KafkaException as error:
            raise GroupError(error.args[0].name()) from error

    def with_consumer(self, group, work):
        consumer = confluent_kafka.Consumer({**self.settings, "group.id": group, "enable.auto.commit": False})
        try:
            return work(consumer)
        finally:
            consumer.close()

    def commit(self, group, offsets):
        rows = positions(offsets)
        self.with_consumer(group, lambda consumer: consumer.commit(offsets=rows, asynchronous=False))

    def committed(self, group, partitions):
        rows = self.with_consumer(group, lambda consumer: consumer.committed(
            [TopicPartition(*p) for p in partitions], timeout=PATIENCE_SECONDS))
        return {(r.topic, r.partition): (r.offset, r.metadata or "") for r in rows if r.offset >= 0}

    def groups(self):
        found = self.result(self.admin.list_consumer_groups())
        assert not found.errors, found.errors
        return {group.group_id: group.state.name.lower() for group in found.valid}

    def describe(self, group):
        found = self.result(self.admin.describe_consumer_groups([group])[group])
        members = {m.group_instance_id or m.member_id: {(p.topic, p.partition) for p in m.assignment.topic_partitions}
                   for m in found.members}
        return found.state.name.lower(), found.partition_assignor, found.coordinator.id, members

    def offsets(self, group):
        wanted = [ConsumerGroupTopicPartitions(group)]
        rows = self.result(self.admin.list_consumer_group_offsets(wanted)[group]).topic_partitions
        return {(r.topic, r.partition): (r.offset, r.metadata or "") for r in rows}

    def alter(self, group, offsets):
        wanted = [ConsumerGroupTopicPartitions(group, positions(offsets))]
        for row in self.result(self.admin.alter_consumer_group_offsets(wanted)[group]).topic_partitions:
            if row.error:
                raise GroupError(row.error.name())

    def delete(self, group):
        self.result(self.admin.delete_consumer_groups([group])[group])


def positions(offsets):
    return [TopicPartition(*p, offset, metadata) if metadata else TopicPartition(*p, offset)
            for p, (offset, metadata) in offsets.items()]


class KafkaPythonGroups:
    name = "kafka-python"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap.split(",")

    def with_admin(self, work):
        with kafka.KafkaAdminClient(bootstrap_servers=self.bootstrap) as admin:
            try:
                return work(admin)
            except KafkaError as error:
                raise GroupError(type(error).message) from error

    def with_consumer(self, group, work):
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False, metrics_enabled=False)
        try:
            return work(consumer)
        finally:
            consumer.close()

    def commit(self, group, offsets):
        def work(consumer):
            consumer.assign([kafka.TopicPartition(*p) for p in offsets])
            consumer.commit(rows(offsets))
        self.with_consumer(group, work)

    def committed(self, group, partitions):
        def work(consumer):
            found = {p: consumer.committed(kafka.TopicPartition(*p), metadata=True) for p in partitions}
            return {p: (row.offset, row.metadata) for p, row in found.items() if row}
        return self.with_consumer(group, work)

    def groups(self):
        return {group["group_id"]: group["group_state"].lower() for group in self.with_admin(lambda a: a.list_groups())}

    def describe(self, group):
        found = self.with_admin(lambda a: a.describe_groups([group]))[group]
        members = {m["group_instance_id"] or m["member_id"]: assigned(m["member_assignment"]) for m in found["members"]}
        return found["group_state"].lower(), found["protocol_data"], None, members

    def offsets(self, group):
        found = self.with_admin(lambda a: a.list_group_offsets([group]))[group]
        return {tuple(p): (row.offset, row.metadata) for p, row in found.items()}

    def alter(self, group, offsets):
        raise_first(self.with_admin(lambda a: a.alter_group_offsets(group, rows(offsets))))

    def delete_offset(self, group, partition):
        raise_first(self.with_admin(lambda a: a.delete_group_offsets(group, [kafka.TopicPartition(*partition)])))

    def delete(self, group):
        raise_first(self.with_admin(lambda a: a.delete_groups([group])))


def rows(offsets):
    return {kafka.TopicPartition(*p): kafka.OffsetAndMetadata(offset, metadata, -1)
            for p, (offset, metadata) in offsets.items()}


def assigned(assignment):
    return {(topic["topic"], index) for topic in assignment["assigned_partitions"] for index in topic["partitions"]}


def raise_first(results):
    """Some of its calls answer classes of errors, some their names."""
    for error in results.values():
        kind = getattr(kafka.errors, error) if isinstance(error, str) and error != "OK" else error
        if kind not in (NoError, "OK"):
            raise GroupError(kind.message)


class AioGroups:
    name = "aiokafka"
    describe = alter = delete = delete_offset = None

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap.split(",")

    def commit(self, group, offsets):
        async def work(consumer):
            consumer.assign([AioPartition(*p) for p in offsets])
            await consumer.commit({AioPartition(*p): row for p, row in offsets.items()})
        asyncio.run(self.with_consumer(group, work))

    def committed(self, group, partitions):
        """It tells no metadata."""
        async def work(consumer):
            found = {p: await consumer.committed(AioPartition(*p)) for p in partitions}
            return {p: (offset, None) for p, offset in found.items() if offset is not None}
        return asyncio.run(self.with_consumer(group, work))

    async def with_consumer(self, group, work):
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            return await work(consumer)
        finally:
            await consumer.stop()

    async def with_admin(self, work):
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()

    def groups(self):
        """Its version of ListGroups has no states."""
        return {name: None for name, _ in asyncio.run(self.with_admin(lambda admin: admin.list_consumer_groups()))}

    def offsets(self, group):
        found = asyncio.run(self.with_admin(lambda admin: admin.list_consumer_group_offsets(group)))
        return {tuple(p): (row.offset, row.metadata) for p, row in found.items()}


class JavaGroups:
    name = "java"
    ERRORS = {"GroupNotEmptyException": "NON_EMPTY_GROUP", "GroupIdNotFoundException": "GROUP_ID_NOT_FOUND",
              "UnknownMemberIdException": "UNKNOWN_MEMBER_ID",
              "GroupSubscribedToTopicException": "GROUP_SUBSCRIBED_TO_TOPIC"}

    def __init__(self, bootstrap, java):
        self.bootstrap, self.java = bootstrap, java

    def ask(self, *words):
        self.java.ask("bootstrap", self.bootstrap)
        try:
            return self.java.ask(*words)
        except RuntimeError as error:
            name = next((kafkas for its, kafkas in self.ERRORS.items() if its in str(error)), None)
            if name is None:
                raise
            raise GroupError(name) from error

    def commit(self, group, offsets):
        for partition, row in offsets.items():
            self.ask("commit", group, *partition, *row)

    def committed(self, group, partitions):
        found = {p: self.ask("committed", group, *p) for p in partitions}
        return {p: (int(offset), metadata) for p, (offset, metadata) in found.items() if offset != "-"}

    def groups(self):
        pairs = (word.rsplit("=", 1) for word in self.ask("groups")[0].split(",") if word)
        return {name: state.lower() for name, state in pairs}

    def describe(self, group):
        state, assignor, coordinator, *members = self.ask("describe", group)
        found = (word.split(";") for word in members)
        return state.lower(), assignor, int(coordinator), {
            instance: {parted(word) for word in partitions.split(",") if word} for instance, partitions in found}

    def offsets(self, group):
        found = (word.split("=", 2) for word in self.ask("offsets", group))
        return {parted(partition): (int(offset), metadata) for partition, offset, metadata in found}

    def alter(self, group, offsets):
        for partition, row in offsets.items():
            self.ask("alter", group, *partition, *row)

    def delete_offset(self, group, partition):
        self.ask("delete-offset", group, *partition)

    def delete(self, group):
        self.ask("delete-group", group)


def parted(word):
    topic, _, index = word.rpartition("-")
    return topic, int(index)
