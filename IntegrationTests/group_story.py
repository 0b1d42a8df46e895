# What groups go through side by side: joins, departures, kill -9 of members and nodes, restarts; and what must hold.

import bisect
import itertools
import time

from conditions import wait_until
from group_wire import OffsetWatch, find_coordinators
from members import Numbers, Troupe

TOPIC, PARTITIONS = "numbers", 6


def pairs(assignors):
    return [(client, assignor) for client, its in assignors.items() for assignor in its]


class Story(Troupe):
    """All that happens, told once; each test then looks at one group."""

    def __init__(self, cluster, folder, class_folder, assignors):
        """`assignors`: {client: [assignor]}; there is a group for each."""
        super().__init__(cluster, folder, class_folder)
        cluster.create_topic(TOPIC, partitions=PARTITIONS)
        self.coordinator = 2
        self.assignors = assignors
        self.names = choose_names(cluster, self.coordinator, pairs(assignors))
        self.clients = {name: client for (client, _), name in self.names.items()}
        self.numbers = Numbers(cluster.bootstrap, {TOPIC: PARTITIONS})
        self.watch = OffsetWatch(cluster, self.clients)
        self.ends = None

    def end(self):
        self.watch.stop()
        super().end()
        self.numbers.abandon()

    def start_all(self, name):
        for client, assignors in self.assignors.items():
            self.start(client, name, [
                {"group": self.names[client, assignor], "assignor": assignor, "topics": [TOPIC]}
                for assignor in assignors])

    def settle(self, what):
        self.wait_steady(what, self.numbers)

    def wait_commits(self, what):
        """Every group commits again, what it has read after this call or before; prints when."""
        since = time.monotonic()
        before = {group: dict(self.watch.highest.get(group, {})) for group in self.clients}
        took = {}

        def has_committed(group):
            # What was on its way is no sign of life yet.
            at = self.books[group].first_commit_since(since + 0.05)
            if at is None and self.clients[group] == "kcat" and self.watch.highest.get(group, {}) != before[group]:
                at = time.monotonic()
            if at is not None:
                took[group] = at - since
            return at is not None
        self.wait_for_all(what, has_committed)
        for client in self.assignors:
            times = sorted(took[group] for group, its in self.clients.items() if its == client and group in took)
            self.measured.append(f"    {client}: " + ", ".join(f"{seconds:.2f} s" for seconds in times))

    def wait_standing(self):
        self.cluster.wait_ready()
        self.cluster.wait_isr_full(TOPIC)
        self.cluster.wait_isr_full("__consumer_offsets")

    # All of it

    def tell(self):
        for name in ("m1", "m2", "m3"):
            self.start_all(name)
        self.settle("three members join")
        self.leave("m3")
        self.settle("one has left")
        self.start_all("m4")
        self.settle("another has joined")
        self.kill("m2")
        self.settle("one was killed")
        self.start_all("m5")
        self.settle("another has joined in its place")
        self.kill_coordinator()
        self.restart_all()
        self.finish()

    def changes(self):
        return {group: book.changes for group, book in self.books.items()}

    def kill_coordinator(self):
        before = self.changes()
        self.cluster[self.coordinator].kill()
        self.wait_commits("the coordinator was killed, a commit of each group is acknowledged by the next")
        self.cluster[self.coordinator].start()
        self.wait_standing()
        self.settle("the killed coordinator is back")
        self.report_rebalanced(before)

    def restart_all(self):
        before = self.changes()
        for node in self.cluster.nodes.values():
            assert node.stop() == 0
            node.start()
            self.wait_standing()
            self.wait_commits(f"node {node.id} was restarted, each group has committed since")
        self.settle("all nodes were restarted")
        self.report_rebalanced(before)

    def report_rebalanced(self, before):
        others = sorted(group for group, count in self.changes().items() if count != before[group])
        self.measured.append(f"    groups that rebalanced meanwhile: {', '.join(others) or 'none'}")

    def finish(self):
        self.ends = self.numbers.stop()
        last = {partition: end - 1 for partition, end in self.ends.items()}
        self.wait_for_all("all is read", lambda group: self.books[group].has_read(last))
        self.wait_for_all("all is committed", lambda group: self.watch.highest.get(group) == self.ends)
        for name in ("m1", "m4", "m5"):
            self.leave(name)


def choose_names(cluster, coordinator, groups):
    """A name for each group such that all of them have the same coordinator: it is the one that dies."""
    candidates = {key: [f"{key[0]}-{key[1]}-{number}" for number in range(20)] for key in groups}

    def find():
        with cluster.any_node().connect() as connection:
            found = find_coordinators(connection, list(itertools.chain(*candidates.values())))
        assert all(error == 0 for error, _ in found.values()), found
        return {key: next(name for name in names if found[name][1] == coordinator) for key, names in candidates.items()}
    return wait_until("names of groups with one coordinator", find)


def verify(story, client, assignor):
    group = story.names[client, assignor]
    book = story.books[group]
    assert story.complaints[group] == []
    assert book.failures() == []
    # From outside: what is committed never goes back, and is never unknown.
    assert story.watch.complaints[group] == []
    verify_nothing_skipped(book, story.ends, unprinted=1 if client == "kcat" else 0)
    committed = Committed(book, story.watch)
    verify_acknowledged_is_seen(story.watch, group, committed)
    if client != "kcat":
        verify_repeats(book, committed)


class Committed:
    """What is known to be committed at a time: by acknowledgements to members, and by what was seen from outside."""

    def __init__(self, book, watch):
        rows = [(at, partition, offset) for at, _, partition, offset in book.commits]
        rows += [(answered, partition, offset)
                 for _, answered, group, partition, offset in watch.seen if group == book.name]
        self.steps = {}
        for at, partition, offset in sorted(rows):
            steps = self.steps.setdefault(partition, [])
            steps.append((at, max(offset, steps[-1][1] if steps else -1)))

    def at(self, partition, time_):
        steps = self.steps.get(partition, [])
        place = bisect.bisect_left(steps, (time_, -1))
        return steps[place - 1][1] if place else -1


def verify_nothing_skipped(book, ends, unprinted):
    """kcat commits beside its printing: a killed one may have committed the one record that it did not get to print."""
    missing = [(partition, offset) for partition, end in ends.items()
               for offset, count in book.times_read(partition, 0, end - 1).items() if count == 0]
    assert len(missing) <= unprinted, f"{len(missing)} records that nobody has read: {missing[:10]}"


def verify_acknowledged_is_seen(watch, group, committed):
    rows = [row for row in watch.seen if row[2] == group]
    assert rows, "nothing was seen"
    back = [(asked, partition, offset, committed.at(partition, asked))
            for asked, _, _, partition, offset in rows if offset < committed.at(partition, asked)]
    assert not back, f"committed offsets that went back, or acknowledged ones that are not there: {back[:10]}"


def verify_repeats(book, committed):
    """A new owner begins where the last acknowledged commit says, or at a later one: never before it."""
    assert book.begun
    early = [(member, partition, first, committed.at(partition, since))
             for member, partition, since, first in book.begun if first < committed.at(partition, since)]
    assert not early, f"(member, partition, began at, committed) {early[:10]}"
