"""Windows of cost of one trace, computed when they are read: there are as many traces as calls, and nobody looks at most of them."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from infra.runtime.clock import Clock
from query_api.readers.trace_usage import TraceUsageReader
from query_api.readers.windows import WindowFilter, WindowItem
from schemas.cost import TRACE, figures
from schemas.definitions import Definitions
from schemas.position import Positions
from schemas.topics import SPANS
from schemas.windows import Grain

_SUBJECT: Final = f"{TRACE}="
_FED_BY: Final = f"{SPANS.name}:"


def is_of_trace(kind: str, subject: str | None) -> bool:
    """Whether the windows of a subject are computed when they are read."""
    return kind == "cost" and subject is not None and subject.startswith(_SUBJECT)


class TraceCosts:
    """Adds up the spans of a trace and prices them under the lists in force, minute by minute and in all."""

    def __init__(self, reader: TraceUsageReader, definitions: Definitions, clock: Clock) -> None:
        self._reader = reader
        self._definitions = definitions
        self._clock = clock

    async def windows(self, tenant: str, wanted: WindowFilter, watermark: Positions) -> list[WindowItem]:
        """Those that are wanted, ordered as stored windows are. The subject must be one `is_of_trace` says yes to.

        They include all that the watermark covers; their revision is the time of the read.
        """
        subject = wanted.subject or ""
        by_minute = await self._reader.by_minute(tenant, subject.removeprefix(_SUBJECT))
        governed = {start: (self._definitions.price_list(tenant, start), usages) for start, usages in by_minute.items()}
        windows = [(Grain.MINUTE, start, figures([priced])) for start, priced in governed.items()]
        windows.append((Grain.ALL, 0, figures(governed.values())))
        now = self._clock.now_us()
        positions = {place: offset for place, offset in watermark.items() if place.startswith(_FED_BY)}

        def item(grain: Grain, start_us: int, name: str, payload: Mapping[str, Any]) -> WindowItem:
            return WindowItem("cost", subject, grain.value, start_us, name, now, now, positions, orjson.dumps(payload).decode())

        items = [item(grain, start, name, payload) for grain, start, found in windows for name, payload in found.get(subject, {}).items()]
        return sorted(filter(wanted.takes, items), key=lambda each: each.key)
