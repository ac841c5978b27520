"""Lists the definitions in force for a tenant, from the control topic."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.keys import view
from query_api.surfaces.policy import Page
from schemas.definitions import DefinitionKind, Definitions, ExclusionGroup, Experiment, Flag, Metric, PriceList, User
from schemas.position import Positions


class _Place(NamedTuple):
    kind: str
    id: str


def list_definitions(
    definitions: Definitions, tenant: str, now_us: int, *, kind: DefinitionKind | None, limit: int, cursor: str | None, watermark: Positions
) -> Page:
    """One page by kind and id. Keys come without text and hash. Raises ValidationFailed for a foreign cursor."""
    after = decode_cursor(cursor, _Place) if cursor else _Place("", "")
    found = sorted(
        ((place, values) for place, values in _all(definitions, tenant, now_us) if kind in (None, place[0]) and place > after), key=lambda each: each[0]
    )
    items = [{"kind": place[0], "id": place[1], "definition": values} for place, values in found[:limit]]
    return Page(items, encode_cursor(found[limit - 1][0]) if len(found) > limit else None, watermark)


def _all(definitions: Definitions, tenant: str, now_us: int) -> Iterator[tuple[_Place, dict[str, Any]]]:
    owner = definitions.tenant(tenant)
    if owner is not None:
        yield _Place("tenant", owner.id), msgspec.to_builtins(owner)
    for key in definitions.keys(tenant):
        yield _Place("key", key.id), msgspec.to_builtins(view(key, now_us))
    plain: tuple[tuple[str, Iterable[Experiment | ExclusionGroup | Flag | Metric | PriceList | User]], ...] = (
        ("user", definitions.users(tenant)),
        ("experiment", definitions.experiments(tenant)),
        ("exclusion_group", definitions.exclusion_groups(tenant)),
        ("metric", definitions.metrics(tenant)),
        ("flag", definitions.flags(tenant)),
        ("price_list", definitions.price_lists(tenant)),
    )
    for kind, found in plain:
        for each in found:
            yield _Place(kind, each.id), msgspec.to_builtins(each)
