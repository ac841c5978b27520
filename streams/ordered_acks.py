"""Acknowledging the records of a partition in the order in which they came."""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass
class _Begun:
    offset: int
    acknowledge: Callable[[], object]
    done: bool = False


class OrderedAcks:
    """Holds back what was done early until everything before it is done.

    Faust commits past an unacknowledged record when the one right behind it is acknowledged (`Consumer._new_offset` takes a head one above the
    committed offset for the head), so after a crash that record would not come again. It never sees one early here.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, deque[_Begun]] = {}

    def began(self, place: Hashable, offset: int, acknowledge: Callable[[], object]) -> Callable[[], None]:
        """A record of a partition came; call what is given back once everything it asked for is done.

        When an offset comes that is not above the one before it, reading went back: what waited before is dropped, since it comes again.
        """
        waiting = self._open.get(place)
        if waiting is None or (waiting and offset <= waiting[-1].offset):
            waiting = self._open[place] = deque()
        record = _Begun(offset, acknowledge)
        waiting.append(record)

        def done() -> None:
            record.done = True
            while self._open.get(place) is waiting and waiting and waiting[0].done:
                waiting.popleft().acknowledge()

        return done

    def forget(self) -> None:
        """Partitions moved: acknowledge nothing that was begun before."""
        self._open.clear()
