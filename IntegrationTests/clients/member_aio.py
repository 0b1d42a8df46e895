# Members by aiokafka; `member.py` says what goes in and comes out.

import asyncio
import traceback

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

import member as members

ASSIGNORS = {assignor.name: assignor for assignor in (
    RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor)}


class Listener(ConsumerRebalanceListener):
    def __init__(self, runner):
        self.runner = runner

    async def on_partitions_revoked(self, revoked):
        await self.runner.commit(at_once=True)
        self.runner.member.gone([tuple(p) for p in revoked])

    async def on_partitions_assigned(self, assigned):
        # Kept under a private name only.
        generation = self.runner.consumer._coordinator.generation
        self.runner.member.assigned([tuple(p) for p in assigned], generation)


class Runner:
    """The client rebalances beside its user: without the lock a commit could come from the next generation."""

    def __init__(self, member):
        self.member = member
        self.lock = asyncio.Lock()
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=member.bootstrap.split(","), group_id=member.group, group_instance_id=member.instance,
            partition_assignment_strategy=[ASSIGNORS[member.assignor]], session_timeout_ms=member.session_ms,
            heartbeat_interval_ms=500, enable_auto_commit=False, auto_offset_reset="earliest",
            metadata_max_age_ms=member.metadata_ms)

    async def commit(self, at_once=False):
        async with self.lock:
            offsets = self.member.due(at_once)
            if not offsets:
                return
            try:
                await self.consumer.commit({TopicPartition(*p): offset for p, offset in offsets.items()})
                self.member.committed(offsets)
            except KafkaError as error:
                self.member.commit_failed(error)

    async def run(self):
        self.consumer.subscribe(topics=self.member.topics or (), pattern=self.member.pattern, listener=Listener(self))
        await self.consumer.start()
        while not members.stopping.is_set():
            for records in (await self.consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    self.member.take(record.topic, record.partition, record.offset, record.value)
            await self.commit()
        await self.commit(at_once=True)
        await self.consumer.stop()
        self.member.tell("closed")


async def guarded(member):
    try:
        await Runner(member).run()
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        member.tell("error", error=f"{type(error).__name__}: {error}")


async def run_all():
    await asyncio.gather(*(guarded(member) for member in members.start()))


asyncio.run(run_all())
