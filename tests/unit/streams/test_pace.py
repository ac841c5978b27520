"""The sinks keep up while blocks are stored soon after they were closed."""

from streams.pace import FORGET_S, Pace
from tests.clock import HandClock


def _store(pace: Pace, clock: HandClock, waited_s: float) -> None:
    with pace.storing(clock.us - round(waited_s * 1e6)):
        clock.forward(0.01)


def test_blocks_that_wait_lately_say_so_and_one_alone_does_not() -> None:
    clock = HandClock()
    pace = Pace(clock, 0.5)
    assert pace.keeping_up(), "nothing came yet"
    for _ in range(20):
        _store(pace, clock, 0.05)
    _store(pace, clock, 2.0)
    assert pace.keeping_up()
    for _ in range(5):
        _store(pace, clock, 2.0)
    assert not pace.keeping_up()
    for _ in range(20):
        _store(pace, clock, 0.05)
    assert pace.keeping_up()


def test_an_insert_that_does_not_end_is_a_wait() -> None:
    clock = HandClock()
    pace = Pace(clock, 0.5)
    with pace.storing(clock.us):
        clock.forward(0.4)
        assert pace.keeping_up()
        clock.forward(0.2)
        assert not pace.keeping_up()
    assert pace.keeping_up()


def test_what_was_long_ago_is_forgotten() -> None:
    clock = HandClock()
    pace = Pace(clock, 0.5)
    for _ in range(20):
        _store(pace, clock, 3.0)
    assert not pace.keeping_up()
    clock.forward(FORGET_S * 1.1)
    assert pace.keeping_up(), "no block waits any more"
    _store(pace, clock, 0.1)
    assert pace.keeping_up(), "the new block is judged alone"
