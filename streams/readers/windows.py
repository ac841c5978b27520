"""Queries on the window tables and the watermarks."""

from collections.abc import Sequence
from typing import NamedTuple

from infra.runtime.clickhouse import ClickHouse
from schemas.tables.windows import WINDOWS

MAX_STARTS = 1_000
"""Starts of windows in one statement: parameters travel in the request's address."""


async def payloads(
    clickhouse: ClickHouse, kind: str, tenant: str, grain: str, subjects: Sequence[str], starts: Sequence[int]
) -> list[tuple[str, int, str, str, int]]:
    """The stored figures of windows, one row an item: subject, start in microseconds, item, payload, revision."""
    sql = (
        f"SELECT subject, toUnixTimestamp64Micro(window_start) AS start, item, payload, revision FROM {WINDOWS[kind].name} FINAL "
        "WHERE tenant = {tenant:String} AND subject IN {subjects:Array(String)} AND grain = {grain:String} "
        "AND window_start IN (SELECT fromUnixTimestamp64Micro(arrayJoin({starts:Array(Int64)}), 'UTC'))"
    )
    found: list[tuple[str, int, str, str, int]] = []
    for begin in range(0, len(starts), MAX_STARTS):
        params = {"tenant": tenant, "subjects": list(subjects), "grain": grain, "starts": list(starts[begin : begin + MAX_STARTS])}
        rows = await clickhouse.query(sql, params)
        found += [(str(row["subject"]), int(row["start"]), str(row["item"]), str(row["payload"]), int(row["revision"])) for row in rows]
    return found


async def revisions(clickhouse: ClickHouse, kind: str, tenant: str, subjects: Sequence[str]) -> dict[str, int]:
    """The highest revision of each subject that has one."""
    rows = await clickhouse.query(
        f"SELECT subject, max(revision) AS high FROM {WINDOWS[kind].name} "
        "WHERE tenant = {tenant:String} AND subject IN {subjects:Array(String)} GROUP BY subject",
        {"tenant": tenant, "subjects": list(subjects)},
    )
    return {str(row["subject"]): int(row["high"]) for row in rows}


class Watermark(NamedTuple):
    """How far windows of a subject are."""

    positions: dict[str, int]
    """Highest offset included, by `topic:partition`; empty when nothing is known."""
    definition: str
    """Fingerprint of the definitions they were computed by; "" when that is not known."""


async def watermark(clickhouse: ClickHouse, kind: str, tenant: str, subject: str) -> Watermark:
    """The subject's stored watermark."""
    rows = await clickhouse.query(
        "SELECT positions, definition FROM watermarks FINAL WHERE kind = {kind:String} AND tenant = {tenant:String} AND subject = {subject:String}",
        {"kind": kind, "tenant": tenant, "subject": subject},
    )
    if not rows:
        return Watermark({}, "")
    return Watermark({str(place): int(offset) for place, offset in rows[0]["positions"].items()}, str(rows[0]["definition"]))


async def window_starts(clickhouse: ClickHouse, kind: str, tenant: str, subject: str, grain: str) -> list[int]:
    """Starts, in microseconds, of the stored windows of a grain."""
    rows = await clickhouse.query(
        f"SELECT DISTINCT toUnixTimestamp64Micro(window_start) AS start FROM {WINDOWS[kind].name} "
        "WHERE tenant = {tenant:String} AND subject = {subject:String} AND grain = {grain:String}",
        {"tenant": tenant, "subject": subject, "grain": grain},
    )
    return [int(row["start"]) for row in rows]


async def subjects(clickhouse: ClickHouse, kind: str) -> list[tuple[str, str]]:
    """Every (tenant, subject) the kind has windows of."""
    rows = await clickhouse.query("SELECT DISTINCT tenant, subject FROM watermarks WHERE kind = {kind:String}", {"kind": kind})
    return [(str(row["tenant"]), str(row["subject"])) for row in rows]
