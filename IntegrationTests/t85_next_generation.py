# Groups of the next-generation protocol (KIP-848) through the same story as those of the classic one, and groups that
# go from one protocol to the other and back while they work.

import pytest

from group_story import PARTITIONS, TOPIC, Story, pairs, verify, verify_nothing_skipped
from members import SESSION_MS, Numbers, Troupe

ASSIGNORS = {client: ["consumer-uniform", "consumer-range"] for client in ("confluent", "java")}
GROUPS = pairs(ASSIGNORS)
# Here the coordinator says how often members are heard and when they are taken for gone.
DEFAULTS = {"group.consumer.session.timeout.ms": SESSION_MS, "group.consumer.heartbeat.interval.ms": 500}
# What each generation of members of a group speaks.
ROLLS = {
    "confluent": ["range", "consumer-range", "cooperative-sticky"],
    "java": ["cooperative-sticky", "consumer-uniform", "range"],
}


@pytest.fixture(scope="module")
def story(start_cluster, tmp_path_factory, member_classes):
    told = Story(
        start_cluster(count=3, defaults=DEFAULTS), str(tmp_path_factory.mktemp("members")), member_classes, ASSIGNORS)
    try:
        told.tell()
        yield told
    finally:
        told.end()


def test_the_group_goes_on_after_its_coordinators_death(story, capsys):
    with capsys.disabled():
        print("", *story.measured, sep="\n    ")
    assert story.ends and min(story.ends.values()) > 0


@pytest.mark.parametrize(("client", "assignor"), GROUPS, ids=[f"{client}-{assignor}" for client, assignor in GROUPS])
def test_group(story, client, assignor):
    verify(story, client, assignor)


class Roll(Troupe):
    """Two members at a time, replaced one by one by such as speak the other protocol, twice."""

    def __init__(self, cluster, folder, class_folder):
        super().__init__(cluster, folder, class_folder)
        cluster.create_topic(TOPIC, partitions=PARTITIONS)
        self.numbers = Numbers(cluster.bootstrap, {TOPIC: PARTITIONS})
        self.ends = None

    def start_all(self, name, generation):
        for client, assignors in ROLLS.items():
            self.start(client, name, [
                {"group": f"rolled-{client}", "assignor": assignors[generation], "topics": [TOPIC]}])

    def tell(self):
        self.start_all("a0", 0)
        self.start_all("b0", 0)
        self.wait_steady("two members of the first protocol", self.numbers)
        for generation in (1, 2):
            for letter in ("a", "b"):
                self.start_all(f"{letter}{generation}", generation)
                self.wait_steady(f"one more, of protocol {generation + 1}", self.numbers)
                self.leave(f"{letter}{generation - 1}")
                self.wait_steady("an old one has left", self.numbers)
        self.ends = self.numbers.stop()
        last = {partition: end - 1 for partition, end in self.ends.items()}
        self.wait_for_all("all is read", lambda group: self.books[group].has_read(last))

    def end(self):
        super().end()
        self.numbers.abandon()


@pytest.fixture(scope="module")
def roll(start_cluster, tmp_path_factory, member_classes):
    told = Roll(start_cluster(count=3, defaults=DEFAULTS), str(tmp_path_factory.mktemp("rolled")), member_classes)
    try:
        told.tell()
        yield told
    finally:
        told.end()


@pytest.mark.parametrize("client", ROLLS)
def test_a_group_goes_from_one_protocol_to_the_other_and_back(roll, client, capsys):
    with capsys.disabled():
        print("", *roll.measured, sep="\n    ")
    book = roll.books[f"rolled-{client}"]
    assert roll.complaints[book.name] == []
    assert book.failures() == []
    verify_nothing_skipped(book, roll.ends, unprinted=0)
