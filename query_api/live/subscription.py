"""One subscription of one client, and what it has to catch up on before updates may pass."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from query_api.live.outbox import Outbox
from query_api.readers.window_state import WindowState

EVERY = "*"
"""As a subject: every subject of the tenant."""
BUFFER = 10_000
"""Updates kept while the snapshot is being read; beyond it the subscription reads again instead."""


@dataclass(frozen=True)
class Topic:
    """What a subscription is about. The tenant is the caller's, never the client's choice."""

    tenant: str
    kind: str
    subject: str
    grain: str | None = None
    """None means every grain."""

    def takes(self, state: WindowState) -> bool:
        """Whether an update belongs to the subscription."""
        return state.tenant == self.tenant and state.kind == self.kind and self.subject in (EVERY, state.subject) and self.grain in (None, state.grain)


@dataclass(eq=False)
class Subscription:
    """While it is not open, updates wait in `held`; `open` lets pass what the snapshot did not carry. So there is neither
    a gap nor a repetition between the two."""

    topic: Topic
    outbox: Outbox
    held: list[WindowState] | None = field(default_factory=list)
    overran: bool = False
    """More updates came than were kept while the snapshot was read: the outbox has to read again."""

    def deliver(self, state: WindowState) -> None:
        """Takes an update that belongs to the subscription. Never blocks."""
        if self.held is None:
            self.outbox.offer(state)
        elif len(self.held) < BUFFER:
            self.held.append(state)
        elif not self.overran:
            self.overran = True
            self.outbox.lose(state.computed_us)

    def open(self, snapshot: Iterable[WindowState]) -> None:
        """The snapshot goes out now; what came since follows it."""
        for state in snapshot:
            self.outbox.know(state)
        held, self.held = self.held or [], None
        for state in held:
            self.outbox.offer(state)
