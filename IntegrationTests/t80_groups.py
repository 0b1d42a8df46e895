# Groups of every client and assignor, side by side: joins, departures, kill -9 of members and nodes, restarts.

from types import SimpleNamespace

import pytest

from group_story import (
    Committed, Story, pairs, verify, verify_acknowledged_is_seen, verify_nothing_skipped, verify_repeats)
from members import ASSIGNORS, Book

GROUPS = pairs(ASSIGNORS)
IDS = [f"{client}-{assignor}" for client, assignor in GROUPS]


@pytest.fixture(scope="module")
def story(start_cluster, tmp_path_factory, member_classes, kcat):
    told = Story(start_cluster(count=3), str(tmp_path_factory.mktemp("members")), member_classes, ASSIGNORS)
    try:
        told.tell()
        yield told
    finally:
        told.end()


def test_the_group_goes_on_after_its_coordinators_death(story, capsys):
    with capsys.disabled():
        print("", *story.measured, sep="\n    ")
    assert story.ends and min(story.ends.values()) > 0
    assert story.watch.absent_leaders == []


@pytest.mark.parametrize(("client", "assignor"), GROUPS, ids=IDS)
def test_group(story, client, assignor):
    verify(story, client, assignor)


def account(*events):
    book = Book("made-up")
    for at, (member, event, fields) in enumerate(events):
        book.take({"at": float(at), "member": member, "group": "made-up", "event": event, **fields})
    return book


def test_these_accounts_would_show_it():
    """Each failure that the checks are for, in an account of a few lines."""
    mine, seen = {"partitions": [["t", 0]]}, SimpleNamespace(seen=[])
    good = [("a", "assigned", mine), ("a", "read", {"runs": [["t", 0, 0, 4]]}),
            ("a", "committed", {"offsets": [["t", 0, 3]]}), ("b", "assigned", mine)]
    for first, last in [(3, 5), (2, 5)]:
        book = account(*good, ("b", "read", {"runs": [["t", 0, first, last]]}))
        verify_nothing_skipped(book, {("t", 0): 6}, unprinted=0)
        if first == 3:
            verify_repeats(book, Committed(book, seen))
    with pytest.raises(AssertionError, match="began at"):
        verify_repeats(book, Committed(book, seen))
    with pytest.raises(AssertionError, match="nobody has read"):
        verify_nothing_skipped(book, {("t", 0): 7}, unprinted=0)
    assert not book.is_shared({"a", "b"}, [("t", 0)]), "two owners"
    # Asked after the commit of 3 was acknowledged, at 2.0.
    for offset, is_good in [(3, True), (2, False)]:
        watch = SimpleNamespace(seen=[(2.5, 2.6, "made-up", ("t", 0), offset)])
        try:
            verify_acknowledged_is_seen(watch, "made-up", Committed(account(*good), seen))
            assert is_good
        except AssertionError as error:
            assert not is_good and "went back" in str(error)
