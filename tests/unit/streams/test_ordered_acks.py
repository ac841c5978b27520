"""Acknowledgements reach Faust in the order of a partition's records, whatever order they end in."""

from collections.abc import Callable
from random import Random

import pytest

from streams.ordered_acks import OrderedAcks


class Acks:
    """Records of one partition, and which of them were acknowledged."""

    def __init__(self) -> None:
        self.acks = OrderedAcks()
        self.seen: list[int] = []

    def began(self, offset: int, place: str = "a") -> Callable[[], None]:
        return self.acks.began(place, offset, lambda: self.seen.append(offset))


@pytest.mark.parametrize("seed", range(5))
def test_in_any_order_they_are_passed_on_in_the_order_of_records(seed: int) -> None:
    acks = Acks()
    ends = [(offset, acks.began(offset)) for offset in range(20)]
    Random(seed).shuffle(ends)
    ended: set[int] = set()
    for offset, end in ends:
        end()
        ended.add(offset)
        first_open = next((each for each in range(20) if each not in ended), 20)
        assert acks.seen == list(range(first_open))


def test_partitions_do_not_wait_for_each_other() -> None:
    acks = Acks()
    acks.began(1, "a")
    acks.began(7, "b")()
    assert acks.seen == [7]


def test_what_was_begun_before_reading_went_back_counts_no_more() -> None:
    acks = Acks()
    early = acks.began(6)
    ends = [acks.began(offset) for offset in (4, 5, 6)]
    early()
    assert acks.seen == []
    for end in ends:
        end()
    assert acks.seen == [4, 5, 6]


def test_after_partitions_moved_nothing_of_before_is_acknowledged() -> None:
    acks = Acks()
    held, waiting = acks.began(1), acks.began(2)
    waiting()
    acks.acks.forget()
    held()
    assert acks.seen == []
    acks.began(1)()
    assert acks.seen == [1]


def test_calling_twice_acknowledges_once() -> None:
    acks = Acks()
    end = acks.began(1)
    end()
    end()
    assert acks.seen == [1]
