"""Windows of cost that are computed when they are read: there are as many traces as calls, nearly as many sessions, and nobody looks at most of them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from infra.runtime.clock import Clock
from query_api.readers.span_usage import Dimension, SpanUsageReader
from query_api.readers.windows import WindowFilter, WindowItem
from schemas.cost import Usage, figures
from schemas.definition_kinds import PriceList
from schemas.definitions import Definitions
from schemas.position import Positions
from schemas.topics import SPANS
from schemas.windows import Grain, window_start

_GRAINS: Final[Mapping[Dimension, tuple[Grain, ...]]] = {
    "trace": (Grain.MINUTE, Grain.ALL),
    "session": tuple(grain for grain in Grain if grain is not Grain.ALL),
}
"""Of a session the window over all time is stored, and live."""
_FED_BY: Final = f"{SPANS.name}:"


def grains_on_read(kind: str, subject: str | None) -> tuple[Grain, ...]:
    """Which windows of a subject are computed when they are read."""
    found = _dimension(subject) if kind == "cost" and subject else None
    return _GRAINS[found[0]] if found else ()


def is_computed_on_read(kind: str, subject: str, grain: str | None) -> bool:
    """Whether there is no stored window of the subject in this grain, None meaning any, that could be followed live."""
    grains = grains_on_read(kind, subject)
    return Grain.ALL in grains or grain in grains


class CostsOnRead:
    """Adds up spans and prices them under the lists in force, minute by minute."""

    def __init__(self, reader: SpanUsageReader, definitions: Definitions, clock: Clock) -> None:
        self._reader = reader
        self._definitions = definitions
        self._clock = clock

    async def windows(self, tenant: str, wanted: WindowFilter, watermark: Positions) -> list[WindowItem]:
        """Those of the subject that are wanted, of the grains that `grains_on_read` names; none where it names none.

        They include all that the watermark covers; their revision is the time of the read.
        """
        subject = wanted.subject or ""
        grains = [grain for grain in grains_on_read("cost", subject) if wanted.grain in (None, grain.value)]
        found = _dimension(subject)
        by_minute = await self._reader.by_minute(tenant, *found, wanted.start_us, wanted.end_us) if found and grains else {}
        # Beside the event loop: a session may last for days.
        windows = await asyncio.to_thread(self._priced, tenant, subject, grains, by_minute)
        now = self._clock.now_us()
        positions = {place: offset for place, offset in watermark.items() if place.startswith(_FED_BY)}

        def item(grain: Grain, start_us: int, name: str, payload: Mapping[str, Any]) -> WindowItem:
            return WindowItem("cost", subject, grain.value, start_us, name, now, now, positions, orjson.dumps(payload).decode())

        items = (item(grain, start, name, payload) for grain, start, found in windows for name, payload in found.items())
        return [each for each in items if wanted.takes(each)]

    def _priced(
        self, tenant: str, subject: str, grains: Sequence[Grain], by_minute: Mapping[int, Sequence[Usage]]
    ) -> list[tuple[Grain, int, Mapping[str, Mapping[str, Any]]]]:
        """Figures by unit of each window that has any."""
        governed: dict[tuple[Grain, int], dict[str, tuple[PriceList, list[Usage]]]] = {}
        for minute, usages in by_minute.items():
            prices = self._definitions.price_list(tenant, minute)
            for grain in grains:
                governed.setdefault((grain, window_start(minute, grain)), {}).setdefault(prices.id, (prices, []))[1].extend(usages)
        return [(grain, start, figures(each.values()).get(subject, {})) for (grain, start), each in governed.items()]


def _dimension(subject: str) -> tuple[Dimension, str] | None:
    """What of these a subject is, and which one; None for any other subject."""
    name, _, value = subject.partition("=")
    return next(((dimension, value) for dimension in _GRAINS if dimension == name and value), None)
