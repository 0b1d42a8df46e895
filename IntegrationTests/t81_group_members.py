# Static members, mixed subscriptions, patterns, and topics and partitions that come later, by every client.

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from conditions import PATIENCE_SECONDS
from members import ASSIGNORS, Numbers, Troupe

CLIENTS = list(ASSIGNORS)
# kafka-python's round robin raises KeyError when members' subscriptions differ.
MIXED = {"confluent": "cooperative-sticky", "kafka-python": "range", "aiokafka": "range", "java": "sticky",
         "kcat": "range"}
PATTERNS = {"confluent": "roundrobin", "kafka-python": "cooperative-sticky", "aiokafka": "sticky",
            "java": "cooperative-sticky", "kcat": "range"}
STATIC = {"confluent": "cooperative-sticky", "kafka-python": "sticky", "aiokafka": "roundrobin", "java": "range",
          "kcat": "range"}
# aiokafka's commits do not name the instance (OffsetCommit 3): one that comes before the next heartbeat is told that the
# member is unknown, and the former owner joins anew and fences its heir. So it is left out where one is to be told.
FENCED = [client for client in CLIENTS if client != "aiokafka"]
# A static member may be away for that long.
STATIC_SESSION_MS = 60_000


class Scene(Troupe):
    """A cluster with three groups of each client; `story` tells what happens to all of them at once."""

    def __init__(self, cluster, folder, class_folder):
        super().__init__(cluster, folder, class_folder)
        topics = {"still": 4, "left": 3, "right": 3, "re-one": 2}
        for topic, partitions in topics.items():
            cluster.create_topic(topic, partitions=partitions)
        self.numbers = Numbers(cluster.bootstrap, topics)
        self.logs, self.before, self.after = {}, {}, {}

    def end(self):
        super().end()
        self.numbers.abandon()

    def start_all(self):
        for client in CLIENTS:
            for name in ("a", "b"):
                self.start_static(client, name, name)
            for name, topics in {"x": ["left"], "y": ["left", "right"], "z": ["right"]}.items():
                wanted = [{"group": f"mixed-{client}", "assignor": MIXED[client], "topics": topics}]
                if name != "z":
                    wanted.append({"group": f"pattern-{client}", "assignor": PATTERNS[client], "pattern": "^re-.*"})
                self.start(client, name, wanted, metadata_ms=1_000)

    def start_static(self, client, name, instance):
        wanted = [{"group": f"static-{client}", "assignor": STATIC[client], "topics": ["still"], "instance": instance}]
        self.start(client, name, wanted, session_ms=STATIC_SESSION_MS)

    def steady(self, what, **topics):
        """topics: kind of group to the topics that it reads."""
        self.wait_steady(what, self.numbers, {
            f"{kind}-{client}": [(t, p) for t, p in self.numbers.partitions() if t in names]
            for kind, names in topics.items() for client in CLIENTS})

    def tell(self):
        self.start_all()
        self.steady("all are there", static=["still"], mixed=["left", "right"], pattern=["re-one"])
        self.before = self.snapshot()
        self.restart(self.leave, "static members stopped and started again")
        self.restart(self.kill, "static members killed and started again")
        self.after = self.snapshot()
        self.logs = {node.id: node.log() for node in self.cluster.nodes.values()}
        fenced = [f"static-{client}" for client in FENCED]
        self.may_fail = set(fenced)
        for client in FENCED:
            self.start_static(client, "c", "b")
        self.wait_for_all("the former owner of the instance is told", self.is_fenced, fenced)
        self.wait_for_all("another has its partitions", self.has_moved, fenced)
        self.grow()

    def restart(self, end, what):
        end("b")
        for client in CLIENTS:
            self.start_static(client, "b", "b")
        self.steady(what, static=["still"])

    def snapshot(self):
        """What each static member owns, the generation as it was told, and how often the other was told anything."""
        def one(book):
            told = len(book.events_of("a", "assigned", "revoked", "lost"))
            return {member: set(owned) for member, owned in book.owners.items()}, book.generations.get("b"), told
        return {client: one(self.books[f"static-{client}"]) for client in CLIENTS}

    @staticmethod
    def groups(kind):
        return [f"{kind}-{client}" for client in CLIENTS]

    def is_fenced(self, group):
        return self.told_of_fencing(group) != []

    def told_of_fencing(self, group):
        return [e["error"] for e in self.books[group].events_of("b", "error", "trouble", "commit_failed")
                if "fenced" in e["error"].lower()]

    def has_moved(self, group):
        owners = self.books[group].owners
        return owners.get("c") == self.after[group.partition("-")[2]][0]["b"]

    def grow(self):
        self.cluster.create_topic("re-two", partitions=3)
        self.numbers.topics["re-two"] = 3
        self.steady("a topic that was created later is read", pattern=["re-one", "re-two"])
        admin = AdminClient({"bootstrap.servers": self.cluster.bootstrap, "log_level": 0})
        admin.create_partitions([NewPartitions("re-one", 4)])["re-one"].result(timeout=PATIENCE_SECONDS)
        self.numbers.topics["re-one"] = 4
        self.steady("partitions that were added later are read", pattern=["re-one", "re-two"])


@pytest.fixture(scope="module")
def scene(start_cluster, tmp_path_factory, member_classes, kcat):
    made = Scene(start_cluster(count=3), tmp_path_factory.mktemp("members"), member_classes)
    try:
        made.tell()
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("client", CLIENTS)
def test_static_members_restart_without_a_rebalance(scene, client):
    group = f"static-{client}"
    assert scene.complaints[group] == []
    # The same partitions of the same generation, and the other member was told nothing.
    assert scene.after[client] == scene.before[client]
    said = [line for log in scene.logs.values() for line in log.splitlines() if f"group {group}: " in line]
    stable = max(index for index, line in enumerate(said) if " is stable" in line)
    returns = [line for line in said if "keeps its assignment" in line and "instance b" in line]
    assert len(returns) == 2 and said.index(returns[0]) > stable, said
    assert not [line for line in said[stable + 1:] if "rebalances" in line], said


@pytest.mark.parametrize("client", FENCED)
def test_a_fenced_instance_is_told(scene, client):
    group = f"static-{client}"
    assert scene.complaints[group] == []
    assert scene.told_of_fencing(group)
    assert [e for e in scene.books[group].failures() if not e.startswith("b: ")] == []


@pytest.mark.parametrize("client", CLIENTS)
def test_members_of_unlike_subscriptions(scene, client):
    group = f"mixed-{client}"
    book = scene.books[group]
    assert scene.complaints[group] == [] and book.failures() == []
    read = {(member, topic) for (topic, _), rows in book.reads.items() for _, _, member, _ in rows}
    assert read == {("x", "left"), ("y", "left"), ("y", "right"), ("z", "right")} or (
        # Who may have both need not have both.
        read < {("x", "left"), ("y", "left"), ("y", "right"), ("z", "right")}
        and {member for member, _ in read} == {"x", "y", "z"}), read


@pytest.mark.parametrize("client", CLIENTS)
def test_patterns_and_what_comes_later(scene, client):
    group = f"pattern-{client}"
    book = scene.books[group]
    assert scene.complaints[group] == [] and book.failures() == []
    assert sorted(book.reads) == [("re-one", p) for p in range(4)] + [("re-two", p) for p in range(3)]


def test_how_long_it_took(scene, capsys):
    with capsys.disabled():
        print("", *scene.measured, sep="\n    ")
