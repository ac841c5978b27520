"""Acknowledging a Kafka event once everything it asked for is done."""

from collections.abc import Callable


class Ack:
    """One event's acknowledgement, held until its last obligation is released."""

    def __init__(self, release: Callable[[], object]) -> None:
        self._release = release
        self._held = 1

    def hold(self) -> None:
        """Add an obligation."""
        self._held += 1

    def done(self) -> None:
        """Release one obligation; the last one acknowledges the event."""
        self._held -= 1
        if self._held == 0:
            self._release()
