"""Which edits are known without asking again."""

from collections.abc import Mapping, Sequence
from typing import Any

from query_api.readers.visible_spans import VisibleSpans

EDITS = {"spans": 0, "traces": 0, "moved": 0, "cut_ns": 0, "cuts": []}


class Edited:
    """Edits that a test changes, and how often they were asked for."""

    def __init__(self) -> None:
        self.edits: dict[str, Any] = dict(EDITS)
        self.asked = 0

    async def query(self, _sql: str, _params: Mapping[str, Any] = {}) -> Sequence[Mapping[str, Any]]:
        self.asked += 1
        return [dict(self.edits)]


def visible(edited: Edited) -> VisibleSpans:
    rows: Any = edited
    return VisibleSpans(rows)


async def test_edits_are_read_again_only_when_the_watermark_says_that_there_are_more() -> None:
    edited = Edited()
    reader = visible(edited)
    first = await reader.of_project("t", "p", {"spans:0": 1, "span_edits:0": 4})
    edited.edits["traces"] = 1
    assert await reader.of_project("t", "p", {"spans:0": 9, "span_edits:0": 4}) == first and edited.asked == 1
    later = await reader.of_project("t", "p", {"spans:0": 9, "span_edits:0": 5})
    assert edited.asked == 2 and len(later.sql) == len(first.sql) + 1, "a deletion that was acknowledged is in force"


async def test_projects_tenants_and_reads_without_a_watermark_have_their_own() -> None:
    edited = Edited()
    reader = visible(edited)
    for tenant, project in (("t", "p"), ("t", "q"), ("u", "p")):
        await reader.of_project(tenant, project, {})
    assert edited.asked == 3
    await reader.of_project("t", "p")
    await reader.of_project("t", "p")
    assert edited.asked == 5
