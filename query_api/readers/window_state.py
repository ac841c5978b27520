"""One window at one revision, with all its items: what live connections carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from schemas.avro import WindowUpdate
from schemas.windows import Grain, to_iso, window_end

StateKey = tuple[str, str, str, int]
"""Kind, subject, grain and start: a newer revision of the same key replaces an older one."""


@dataclass(frozen=True)
class WindowState:
    """A window. The figures stay the text they were stored as."""

    tenant: str
    kind: str
    subject: str
    grain: str
    start_us: int
    revision: int
    """Counts the refreshes of the subject that changed something; rises over all its windows."""
    computed_us: int
    positions: Mapping[str, int]
    items: str
    """A JSON object: figures by item."""

    @property
    def key(self) -> StateKey:
        return (self.kind, self.subject, self.grain, self.start_us)

    @cached_property
    def encoded(self) -> bytes:
        """The JSON object of the state, made once however many clients receive it."""
        return orjson.dumps(
            {
                **bounds(self.grain, self.start_us),
                "kind": self.kind,
                "subject": self.subject,
                "revision": self.revision,
                "computed_at": to_iso(self.computed_us),
                "positions": dict(self.positions),
                "items": orjson.Fragment(self.items),
            }
        )


def bounds(grain: str, start_us: int) -> dict[str, Any]:
    """Grain, start and end of a window as JSON-able values; the cumulative window has no end."""
    end_us = window_end(start_us, Grain(grain))
    return {"grain": grain, "window_start": to_iso(start_us), "window_end": None if end_us is None else to_iso(end_us)}


def from_update(update: WindowUpdate) -> WindowState:
    """The state a record of the updates topic carries."""
    return WindowState(
        tenant=update.tenant,
        kind=update.kind,
        subject=update.subject,
        grain=update.grain,
        start_us=update.window_start_us,
        revision=update.revision,
        computed_us=update.computed_at_us,
        positions=update.positions,
        items=update.payload,
    )
