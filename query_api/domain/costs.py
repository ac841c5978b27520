"""What the spans of a project cost, by model, user, session and more: the usage the cost agent keeps, under the price lists in force now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from infra.runtime.errors import ValidationFailed
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.projects import Projects
from query_api.domain.windows import FED_BY, cost_watermarks
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.costs import CostReader, Place, Used
from query_api.readers.window_state import bounds
from query_api.surfaces.policy import Page
from schemas.cost import COMPLETION, PROMPT, Usage, figures, pieces
from schemas.definitions import PriceList, to_us
from schemas.windows import Grain

By = Literal["project", "provider", "model", "user", "session", "prompt_version"]


async def list_costs(
    parts: Parts, tenant: str, identifier: str, by: By, grain: Grain, start_us: int | None, end_us: int | None, *, limit: int, cursor: str | None, wait: Wait
) -> Page:
    """One page of windows of a project, the newest first and in each what used most tokens. Raises NotFound, ValidationFailed for a foreign
    cursor or a range of time with the grain `all`, and what the freshness contract raises."""
    if grain is Grain.ALL and not start_us is end_us is None:
        raise ValidationFailed("start_time and end_time choose among windows that have a start; ask for the grain 1m, 5m, 1h or 1d with them")
    after = decode_cursor(cursor, Place) if cursor else None
    watermark = await parts.freshness.window(wait, cost_watermarks(by), tenant, None, FED_BY["cost"])
    # Only now: the spans that the caller waited for may have made the project.
    project = await Projects(parts).get(tenant, identifier)
    reader = CostReader(parts.rows, tenant, project.name, by)
    found = await reader.page(grain, start_us, end_us, limit=limit + 1, after=after)
    page = found[:limit]
    priced = await _priced(parts, reader, grain, page)
    items = [{"by": by, "value": used.place.value, **bounds(grain.value, used.place.start_us), **_json(priced[used.place])} for used in page]
    return Page(items, encode_cursor(page[-1].place) if len(found) > limit else None, watermark)


async def _priced(parts: Parts, reader: CostReader, grain: Grain, page: Sequence[Used]) -> dict[Place, Mapping[str, Mapping[str, Any]]]:
    """Figures by unit. A window in which the price list changes is priced piece by piece."""
    changes = [to_us(prices.effective_from) for prices in parts.definitions.price_lists(reader.tenant)]
    by_start: dict[int, list[Used]] = defaultdict(list)
    for used in page:
        by_start[used.place.start_us].append(used)
    result: dict[Place, Mapping[str, Mapping[str, Any]]] = {}
    for start, windows in by_start.items():
        governed: list[tuple[PriceList, list[Usage]]] = []
        parts_of = list(pieces(grain, start, changes))
        for piece in parts_of:
            whole = len(parts_of) == 1
            usages = [usage for used in windows for usage in used.usages] if whole else await reader.piece(piece, [used.place.value for used in windows])
            governed.append((parts.definitions.price_list(reader.tenant, piece.from_us), usages))
        by_subject = figures(governed)
        result |= {used.place: by_subject.get(f"{reader.dimension}={used.place.value}", {}) for used in windows}
    return result


def _json(units: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    amounts: dict[str, float] = defaultdict(float)
    for unit in units.values():
        for currency, amount in (unit.get("amounts") or {unit["currency"]: unit["amount"]}).items():
            if amount is not None:
                amounts[currency] += amount
    currency = next(iter(amounts)) if len(amounts) == 1 else None
    return {
        "tokens": sum(units[unit]["quantity"] for unit in (PROMPT, COMPLETION) if unit in units),
        "amount": amounts[currency] if currency is not None else None,
        "currency": currency,
        "complete": all(unit["amount"] is not None and "unpriced" not in unit for unit in units.values()),
        "units": units,
    }
