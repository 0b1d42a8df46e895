# Members by kafka-python 3; `member.py` says what goes in and comes out.

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import FencedInstanceIdError, KafkaConnectionError, KafkaError

import member as members

ASSIGNORS = {assignor.name: assignor for assignor in (
    CooperativeStickyAssignor, RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor)}
# A poll that ends while its rejoin is under way may forget it: the next one sees no reason to join, takes the answer to
# SyncGroup for nobody's, and the member never sends a heartbeat again. It ends early when records come.
POLL_MS = 3_000


class Listener(ConsumerRebalanceListener):
    """Runs while poll does, on the client's own loop: a commit would wait for itself here."""

    def __init__(self, member):
        self.member = member
        self.consumer = None

    def on_partitions_assigned(self, assigned):
        metadata = self.consumer.group_metadata()
        self.member.assigned([tuple(p) for p in assigned], metadata.generation_id)

    def on_partitions_revoked(self, revoked):
        self.member.gone([tuple(p) for p in revoked])

    def on_partitions_lost(self, lost):
        self.member.gone([tuple(p) for p in lost], "lost")


def run(member):
    listener = Listener(member)
    consumer = listener.consumer = KafkaConsumer(
        bootstrap_servers=member.bootstrap.split(","), group_id=member.group, group_instance_id=member.instance,
        partition_assignment_strategy=[ASSIGNORS[member.assignor]], session_timeout_ms=member.session_ms,
        heartbeat_interval_ms=500, enable_auto_commit=False, auto_offset_reset="earliest", metrics_enabled=False,
        metadata_max_age_ms=member.metadata_ms, reconnect_backoff_max_ms=500, allow_auto_create_topics=False)
    consumer.subscribe(topics=member.topics or (), pattern=member.pattern, listener=listener)

    def commit(at_once=False):
        offsets = member.due(at_once)
        if not offsets:
            return
        try:
            consumer.commit({TopicPartition(*partition): OffsetAndMetadata(offset, "", -1)
                             for partition, offset in offsets.items()}, timeout_ms=10_000)
            member.committed(offsets)
        except FencedInstanceIdError:
            raise
        except KafkaError as error:
            member.commit_failed(error)

    def poll():
        try:
            return consumer.poll(timeout_ms=POLL_MS).values()
        except KafkaConnectionError as error:
            # Retriable by its own word, but raised: where the coordinator is lost in the moment in which the node that
            # is then asked for metadata refuses the connection.
            member.tell("poll_failed", error=str(error))
            return ()

    while not members.stopping.is_set():
        for records in poll():
            for record in records:
                member.take(record.topic, record.partition, record.offset, record.value)
        commit()
    commit(at_once=True)
    consumer.close()
    member.tell("closed")


members.run_all(run)
