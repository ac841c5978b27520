"""Writing windows: only what changed becomes a new revision, and every revision is published for the live hub."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.producer import Producer
from schemas.avro import WindowUpdate, encode_update
from schemas.tables.watermarks import ending_windows
from schemas.topics import UPDATES
from streams.ledger import sql_time
from streams.readers import windows as reader
from streams.readers.windows import Watermark
from streams.rows import insert_rows

MAX_CACHED = 20_000
"""Windows whose last figures are remembered; beyond that they are read back before they are compared."""

MAX_NAMES_BYTES = 24_000
"""Names of subjects in one statement, encoded: parameters travel in the request's address."""
MAX_SENDING = 500
"""Updates on their way to Kafka at once."""

Items = Mapping[str, Mapping[str, Any]]
"""Figures of a window by item."""

_encode = msgspec.json.Encoder(order="sorted").encode


_Place = tuple[str, str, int]
"""Subject, grain and start of a window."""


@dataclass(frozen=True)
class _Changed:
    """A window that differs from what is stored, with the items that do and with all of them."""

    subject: str
    grain: str
    start: int
    differs: dict[str, str]
    now: dict[str, str]


class WindowWriter:
    """Upserts the windows of one kind."""

    def __init__(self, kind: str, clickhouse: ClickHouse, producer: Producer, clock: Clock) -> None:
        self._kind = kind
        self._clickhouse = clickhouse
        self._producer = producer
        self._clock = clock
        self._last: OrderedDict[tuple[str, str, str, int], dict[str, str]] = OrderedDict()
        self._revisions: dict[tuple[str, str], int] = {}
        self._unsent: list[WindowUpdate] = []
        self._writing = asyncio.Lock()

    def forget(self) -> None:
        """Drop what is remembered: another worker may have written since."""
        self._last.clear()
        self._revisions.clear()
        self._unsent.clear()

    async def write(self, tenant: str, subject: str, grain: str, windows: Mapping[int, Items], positions: Mapping[str, int]) -> None:
        """Store the windows (by start, microseconds) whose figures differ from the stored ones, as one revision, and publish each.

        An item that is gone is stored as an empty object. Raises ClickHouseError or Unavailable; repeating is safe.
        """
        await self.write_grains(tenant, subject, {grain: windows}, positions)

    async def write_grains(self, tenant: str, subject: str, grains: Mapping[str, Mapping[int, Items]], positions: Mapping[str, int]) -> None:
        """`write` for several grains at once, as one revision."""
        places = {(subject, grain, start): items for grain, windows in grains.items() for start, items in windows.items()}
        async with self._writing:
            await self._write_group(tenant, places, positions)

    async def write_many(self, tenant: str, subjects: Mapping[str, Mapping[str, Mapping[int, Items]]], positions: Mapping[str, int]) -> None:
        """`write_grains` for many subjects at once: few statements, and a revision of its own for each subject that changed."""
        for group in _groups(subjects):
            places = {
                (subject, grain, start): items for subject, grains in group.items() for grain, windows in grains.items() for start, items in windows.items()
            }
            async with self._writing:
                await self._write_group(tenant, places, positions)

    async def _write_group(self, tenant: str, windows: Mapping[_Place, Items], positions: Mapping[str, int]) -> None:
        await self._send_unsent()
        stored, read_back = await self._stored(tenant, windows)
        changed: list[_Changed] = []
        for place, items in windows.items():
            before = stored[place]
            now = {name: _encode(figures).decode() for name, figures in items.items()}
            now.update({name: "{}" for name in before if name not in now})
            differs = {name: text for name, text in now.items() if before.get(name) != text}
            if differs:
                changed.append(_Changed(*place, differs, now))
            elif place in read_back:
                # Whoever stored it may have ended before it was published; who has it already ignores the revision.
                self._unsent.append(WindowUpdate(self._kind, tenant, *place, read_back[place], self._clock.now_us(), positions, _joined(before)))
        if not changed:
            await self._send_unsent()
            return
        revisions = await self._next_revisions(tenant, {window.subject for window in changed})
        at = self._clock.now_us()
        computed_at, includes = sql_time(at), dict(positions)
        rows = [
            {
                "tenant": tenant, "subject": window.subject, "grain": window.grain, "window_start": sql_time(window.start), "item": name,
                "revision": revisions[window.subject], "computed_at": computed_at, "positions": includes, "payload": text,
            }
            for window in changed
            for name, text in window.differs.items()
        ]  # fmt: skip
        first = changed[0]
        token = f"{self._kind}/{tenant}/{first.subject}/{first.grain}/{revisions[first.subject]}/{at}"
        await insert_rows(self._clickhouse, f"windows_{self._kind}", rows, token=token, urgent=True)
        for window in changed:
            self._revisions[(tenant, window.subject)] = revisions[window.subject]
            self._remember((tenant, window.subject, window.grain, window.start), window.now)
        self._unsent += [
            WindowUpdate(self._kind, tenant, window.subject, window.grain, window.start, revisions[window.subject], at, positions, _joined(window.now))
            for window in changed
        ]
        await self._send_unsent()

    async def _send_unsent(self) -> None:
        """Publish what is stored and was not published yet. After a failure the rest waits for the next write."""
        # Sent side by side: each waits for its acknowledgement, and the producer keeps the order they were begun in.
        while self._unsent:
            batch = self._unsent[:MAX_SENDING]
            results = await asyncio.gather(*(self._publish(update) for update in batch), return_exceptions=True)
            failed = [(update, result) for update, result in zip(batch, results, strict=True) if isinstance(result, BaseException)]
            self._unsent[: len(batch)] = [update for update, _ in failed]
            for _, error in failed:
                raise error

    async def watermark(self, tenant: str, subject: str, positions: Mapping[str, int], *, ending: bool = False, definition: str = "") -> None:
        """Say that the subject's cumulative window, or with `ending` its windows of every other grain, include these positions, and by which
        definitions the latter were computed."""
        row = self.progress(tenant, subject, positions, ending=ending, definition=definition)
        await insert_rows(self._clickhouse, "watermarks", [row], token=f"{row['kind']}/{tenant}/{subject}/{row['at']}")

    def progress(self, tenant: str, subject: str, positions: Mapping[str, int], *, ending: bool = False, definition: str = "") -> dict[str, Any]:
        """What `watermark` says, as a row of the watermarks table."""
        return {
            "kind": ending_windows(self._kind) if ending else self._kind, "tenant": tenant, "subject": subject,
            "revision": self._revisions.get((tenant, subject), 0), "positions": dict(positions), "definition": definition, "at": sql_time(self._clock.now_us()),
        }  # fmt: skip

    async def reached(self, tenant: str, subject: str, *, ending: bool = False) -> Watermark:
        """What was said last, for a worker that takes the subject over."""
        return await reader.watermark(self._clickhouse, ending_windows(self._kind) if ending else self._kind, tenant, subject)

    async def _publish(self, update: WindowUpdate) -> None:
        await self._producer.send(UPDATES.name, encode_update(update), key=f"{update.tenant}/{update.subject}".encode())

    async def _stored(self, tenant: str, places: Collection[_Place]) -> tuple[dict[_Place, dict[str, str]], dict[_Place, int]]:
        """What is stored of windows; what is not remembered is read back in one statement for each grain. Also the revisions of those that were
        read back and exist."""
        revisions: dict[_Place, int] = {}
        found: dict[_Place, dict[str, str]] = {}
        unknown: dict[_Place, dict[str, str]] = {}
        for subject, grain, start in places:
            known = self._last.get((tenant, subject, grain, start))
            if known is None:
                unknown[subject, grain, start] = {}
            else:
                found[subject, grain, start] = known
        for grain in sorted({grain for _, grain, _ in unknown}):
            subjects = sorted({subject for subject, of, _ in unknown if of == grain})
            starts = sorted({start for _, of, start in unknown if of == grain})
            for subject, start, item, payload, revision in await reader.payloads(self._clickhouse, self._kind, tenant, grain, subjects, starts):
                place = (subject, grain, start)
                if place in unknown:
                    unknown[place][item] = payload
                    revisions[place] = max(revision, revisions.get(place, 0))
        for (subject, grain, start), items in unknown.items():
            self._remember((tenant, subject, grain, start), items)
        return found | unknown, revisions

    def _remember(self, place: tuple[str, str, str, int], items: dict[str, str]) -> None:
        self._last[place] = items
        self._last.move_to_end(place)
        if len(self._last) > MAX_CACHED:
            self._last.popitem(last=False)

    async def _next_revisions(self, tenant: str, subjects: Collection[str]) -> dict[str, int]:
        known = {subject: self._revisions[(tenant, subject)] for subject in subjects if (tenant, subject) in self._revisions}
        unknown = sorted(set(subjects) - known.keys())
        if unknown:
            stored = await reader.revisions(self._clickhouse, self._kind, tenant, unknown)
            known |= {subject: stored.get(subject, 0) for subject in unknown}
        return {subject: revision + 1 for subject, revision in known.items()}


def _joined(items: Mapping[str, str]) -> str:
    """The whole window as JSON, without the items that are gone."""
    return "{" + ",".join(f"{_encode(name).decode()}:{text}" for name, text in sorted(items.items()) if text != "{}") + "}"


def _groups(subjects: Mapping[str, Mapping[str, Mapping[int, Items]]]) -> Iterator[dict[str, Mapping[str, Mapping[int, Items]]]]:
    """Subjects in groups whose names fit into the address of a request."""
    group: dict[str, Mapping[str, Mapping[int, Items]]] = {}
    size = 0
    for subject in sorted(subjects):
        needed = len(quote(subject)) + 12
        if group and size + needed > MAX_NAMES_BYTES:
            yield group
            group, size = {}, 0
        group[subject] = subjects[subject]
        size += needed
    if group:
        yield group
