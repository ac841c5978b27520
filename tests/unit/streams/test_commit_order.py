"""What may be committed when records end in any order."""

from random import Random

from streams.commit_order import CommitOrder


def test_nothing_is_committed_before_a_record_began() -> None:
    assert CommitOrder().position is None


def test_the_first_unfinished_record_holds_the_rest() -> None:
    order = CommitOrder()
    for offset in (4, 5, 9):  # offsets have gaps after compaction and transactions
        order.began(offset)
    assert order.position == 4
    order.ended(5)
    assert order.position == 4
    order.ended(4)
    assert order.position == 9
    order.ended(9)
    assert order.position == 10


def test_in_any_order_the_position_rises_to_the_end() -> None:
    dice = Random(1)
    for _ in range(50):
        order, offsets = CommitOrder(), list(range(20))
        for offset in offsets:
            order.began(offset)
        dice.shuffle(offsets)
        seen = [order.position or 0]
        for done, offset in enumerate(offsets):
            order.ended(offset)
            left = offsets[done + 1 :]
            assert order.position == min(left, default=20)
            seen.append(order.position or 0)
        assert seen == sorted(seen)
