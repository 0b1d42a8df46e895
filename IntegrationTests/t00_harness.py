# The proof itself can fail: planted losses, repeats and disorder are found, and our hand-made batches are right ones.

import pytest

from batches import batch, crc32c, heads
from workload import Load, common_prefix, verify


def load(name="p", idempotent=True, acks=((0, 0), (1, 1), (2, 2))):
    made = Load(name, "topic", 1)
    made.idempotent = idempotent
    made.acks[0] = list(acks)
    return made


def rows(*values):
    return {0: [(offset, value.encode()) for offset, value in enumerate(values)]}


def test_what_is_right_passes():
    verify(rows("p:0:0", "p:0:1", "p:0:2", "p:0:3"), [load()])
    verify(rows("p:0:0", "p:0:0", "p:0:1"), [load(idempotent=False, acks=[(0, 1), (1, 2)])])


@pytest.mark.parametrize("records, loads", [
    pytest.param(rows("p:0:0", "p:0:1"), [load()], id="lost"),
    pytest.param(rows("p:0:0", "p:0:2", "p:0:1"), [load()], id="at-another-offset"),
    pytest.param(rows("p:0:0", "p:0:1", "p:0:2", "p:0:1"), [load()], id="twice"),
    pytest.param(rows("p:0:0", "p:0:1", "p:0:2", "p:0:5", "p:0:4"), [load()], id="out-of-order"),
    pytest.param(rows("p:0:0", "p:0:1", "p:0:2", "q:0:0"), [load()], id="foreign"),
    pytest.param({0: [(0, b"p:0:0"), (1, b"p:0:1"), (3, b"p:0:2")]}, [load(acks=[])], id="gap"),
    pytest.param(rows("p:0:0"), [load(idempotent=False)], id="plain-lost"),
])
def test_what_is_wrong_is_found(records, loads):
    with pytest.raises(AssertionError):
        verify(records, loads)


def test_batches_made_by_hand():
    assert crc32c(b"123456789") == 0xE3069283
    first, second = heads(batch([b"a", b"bb"]) + batch([b"c"], base=2) + b"torn")
    assert (first.base, first.last, first.count, second.base) == (0, 1, 2, 2)


def test_common_prefix():
    assert [common_prefix(b"abcd", b"abXd"), common_prefix(b"ab", b"ab"), common_prefix(b"", b"x")] == [2, 2, 0]
