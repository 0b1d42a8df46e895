# Members by confluent-kafka; `member.py` says what goes in and comes out.

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

import member as members


def names(partitions):
    return [(p.topic, p.partition) for p in partitions]


def run(member):
    settings = {
        "bootstrap.servers": member.bootstrap, "group.id": member.group, "log_level": 0,
        "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "topic.metadata.refresh.interval.ms": member.metadata_ms, "reconnect.backoff.max.ms": 500,
        "allow.auto.create.topics": False}
    if member.remote_assignor:
        settings.update({"group.protocol": "consumer", "group.remote.assignor": member.remote_assignor})
    else:
        settings.update({
            "partition.assignment.strategy": member.assignor, "session.timeout.ms": member.session_ms,
            "heartbeat.interval.ms": 500})
    if member.instance:
        settings["group.instance.id"] = member.instance
    consumer = confluent_kafka.Consumer(settings)

    def commit(at_once=False):
        offsets = member.due(at_once)
        if not offsets:
            return
        try:
            done = consumer.commit(
                offsets=[TopicPartition(*p, offset) for p, offset in offsets.items()], asynchronous=False)
            failed = [p.error for p in done if p.error]
            if failed:
                raise KafkaException(failed[0])
            member.committed(offsets)
        except KafkaException as error:
            member.commit_failed(error)

    def revoked(_, partitions):
        commit(at_once=True)
        member.gone(names(partitions))

    consumer.subscribe(
        [member.pattern] if member.pattern else member.topics,
        on_assign=lambda _, partitions: member.assigned(names(partitions)), on_revoke=revoked,
        on_lost=lambda _, partitions: member.gone(names(partitions), "lost"))
    while not members.stopping.is_set():
        message = consumer.poll(0.2)
        while message is not None:
            error = message.error()
            if error and (error.fatal() or error.code() == KafkaError._FATAL):
                member.tell("error", error=error.str())
                return
            if error:
                member.tell("trouble", error=f"{error.name()}: {error.str()}")
            else:
                member.take(message.topic(), message.partition(), message.offset(), message.value())
            message = consumer.poll(0)
        commit()
    consumer.close()
    member.tell("closed")


members.run_all(run)
