"""Whether the parts the service needs can do their work."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

PROBE_S = 4.0

Check = Callable[[], Awaitable[None]]
"""Returns when the part works; raises with the reason when it does not."""


class NotReady(Exception):
    """A part that answers, but cannot do its work yet. The message says what is missing and, where known, what to do."""


@dataclass(frozen=True)
class Probe:
    """One part and how to look at it."""

    part: str
    check: Check
    required: bool = True
    """Whether requests fail without it; without the others only some do."""


@dataclass(frozen=True)
class PartHealth:
    """What one look at one part found."""

    part: str
    ready: bool
    required: bool
    problem: str | None


Status = Literal["ready", "degraded", "not_ready"]


class Probes:
    """All parts of the service."""

    def __init__(self, *probes: Probe) -> None:
        self._probes = probes

    async def look(self) -> list[PartHealth]:
        """Looks at every part at once; never raises and takes at most 4 s."""
        return await asyncio.gather(*(_look(probe) for probe in self._probes))


def status_of(parts: list[PartHealth]) -> Status:
    """`not_ready` when a required part is not, `degraded` when another one is not."""
    if all(part.ready for part in parts):
        return "ready"
    return "degraded" if all(part.ready for part in parts if part.required) else "not_ready"


async def _look(probe: Probe) -> PartHealth:
    try:
        async with asyncio.timeout(PROBE_S):
            await probe.check()
    except TimeoutError:
        return PartHealth(probe.part, False, probe.required, f"no answer within {PROBE_S:g} s")
    except Exception as error:  # noqa: BLE001
        # Whatever a part fails with, the report is what it is for.
        return PartHealth(probe.part, False, probe.required, str(error) or type(error).__name__)
    return PartHealth(probe.part, True, probe.required, None)
