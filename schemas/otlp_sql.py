"""SQL shared by the feeds of spans, metric points and logs: from an envelope down to the items of one scope.

Each level of the SELECT unfolds one array. The engine analyses the whole statement with every INSERT, so it is kept short.
"""

from collections.abc import Sequence

from schemas.any_value import sql_text

PROJECT_ATTRIBUTE = "openinference.project.name"
"""Resource attribute that names the project, unless the header `x-project-name` of the request does."""
SERVICE_ATTRIBUTE = "service.name"

ORIGIN = "part, `offset`"
"""Columns that `Feed.insert` appends to the innermost SELECT; every level hands them up and the outermost ends with them."""

_ENVELOPE = "tenant, received_us, earliest_ns, latest_ns, service, project"
SCOPE = f"{_ENVELOPE}, resource, resource_schema_url, scope_name, scope_version, scope_attributes, scope_schema_url, {ORIGIN}"
"""Columns of a scope, beside its items."""


def unfold(items: str) -> str:
    """`SELECT` of one row per scope with `items` over it as `grp`, or of one per item where that is an arrayJoin.

    It ends before `FROM input(...)`, after which `tail` must follow.
    """
    return f"""SELECT {_ENVELOPE}, toLowCardinality(res.resource) AS resource, res.schema_url AS resource_schema_url, grp.scope.name AS scope_name,
  grp.scope.version AS scope_version, grp.scope.attributes AS scope_attributes, grp.schema_url AS scope_schema_url, {items}, {ORIGIN}"""


def tail(group: str, levels: int) -> str:
    """What follows `FROM input(...)`; `levels` counts the subqueries around `unfold`."""
    lower = group.lower()
    return f"ARRAY JOIN body.resource_{lower} AS res, services AS service, projects AS project ARRAY JOIN res.scope_{lower} AS grp {')' * levels}"


_RANKS = 8
"""More names than any wanted attribute goes by."""


def codes(keys: str, wanted: Sequence[tuple[str, ...]]) -> str:
    """Array of a number for each key: 0 for one that nobody wants, else its place among the wanted and, below that, among their names."""
    names = {name: place * _RANKS + rank for place, names in enumerate(wanted, 1) for rank, name in enumerate(names)}
    return f"arrayMap(k -> transform(k, {list(names)}, {list(names.values())}, 0), {keys})"


def wanted_texts(numbers: str, vals: str) -> str:
    """Map from the place of a wanted attribute, from 1 on, to its text, from parallel arrays of `codes` and stored values. Of several names the first counts."""
    found = f"arrayFilter(c -> c > 0, {numbers})"
    values = f"arraySort((v, c) -> c, arrayFilter((v, c) -> c > 0, {vals}, {numbers}), {found})"
    return f"mapFromArrays(arrayMap(c -> intDiv(c, {_RANKS}), arraySort({found})), arrayMap(v -> {sql_text('v')}, {values}))"


def nanoseconds(number: str) -> str:
    """A UInt64 of nanoseconds as a time. One beyond the year 2262 becomes the last one the type holds; it is quarantined anyway."""
    return f"fromUnixTimestamp64Nano(toInt64(least({number}, 9223372036854775807)), 'UTC')"
