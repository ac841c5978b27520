"""Up to where a partition may be committed when its records end in any order."""


class CommitOrder:
    """The records of one partition that were begun."""

    def __init__(self) -> None:
        self._open: dict[int, None] = {}
        self._next: int | None = None

    def began(self, offset: int) -> None:
        """A record is being worked on; they begin in the order of their offsets."""
        self._open[offset] = None
        self._next = offset + 1

    def ended(self, offset: int) -> None:
        """Everything a record asked for is done."""
        self._open.pop(offset, None)

    @property
    def position(self) -> int | None:
        """The first offset that must be read again after a crash; None before any record began."""
        return next(iter(self._open), self._next)
