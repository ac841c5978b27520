"""SQL shared by the feeds of spans, metric points and logs: from an envelope down to the items of one scope.

Each level of the SELECT unfolds one array. The engine analyses the whole statement with every INSERT, so it is kept short.
"""

from schemas.any_value import sql_text

PROJECT_ATTRIBUTE = "openinference.project.name"
"""Resource attribute that names the project, unless the header `x-project-name` of the request does."""
SERVICE_ATTRIBUTE = "service.name"

ORIGIN = "part, `offset`"
"""Columns that `Feed.insert` appends to the innermost SELECT; every level hands them up and the outermost ends with them."""

_ENVELOPE = "tenant, received_us, earliest_ns, latest_ns, service, project, res"
_RESOURCE = "tenant, received_us, earliest_ns, latest_ns, service, project, resource, resource_schema_url"
SCOPE = f"{_RESOURCE}, scope_name, scope_version, scope_attributes, scope_schema_url, {ORIGIN}"
"""Columns of a scope, beside its items."""


def unfold(group: str, items: str) -> str:
    """`SELECT` of one row per scope with `items` over it as `grp`, or of one per item where that is an arrayJoin.

    It ends before `FROM input(...)`, after which `tail` must follow.
    """
    lower = group.lower()
    return f"""SELECT {_RESOURCE}, grp.scope.name AS scope_name, grp.scope.version AS scope_version, grp.scope.attributes AS scope_attributes,
  grp.schema_url AS scope_schema_url, {items}, {ORIGIN} FROM (
SELECT tenant, received_us, earliest_ns, latest_ns, service, project, toLowCardinality(res.resource) AS resource, res.schema_url AS resource_schema_url,
  arrayJoin(res.scope_{lower}) AS grp, {ORIGIN} FROM (
SELECT {_ENVELOPE}"""


def tail(group: str, levels: int) -> str:
    """What follows `FROM input(...)`; `levels` counts the subqueries around `unfold`."""
    return f"ARRAY JOIN body.resource_{group.lower()} AS res, services AS service, projects AS project {')' * (levels + 2)}"


def lookup(*names: str) -> str:
    """The stored value of the first of these attributes that is there, in the parallel arrays `keys` and `vals`; empty when none is."""
    index = f"indexOf(keys, '{names[-1]}')"
    for name in reversed(names[:-1]):
        index = f"if(indexOf(keys, '{name}') > 0, indexOf(keys, '{name}'), {index})"
    return f"vals[{index}]"


def lookups(*wanted: tuple[str, ...]) -> str:
    """Array of `lookup`, one for each."""
    return f"[{', '.join(lookup(*names) for names in wanted)}]"


def texts(values: str) -> str:
    """Array of stored values as array of text."""
    return f"arrayMap(v -> {sql_text('v')}, {values})"


def nanoseconds(number: str) -> str:
    """A UInt64 of nanoseconds as a time. One beyond the year 2262 becomes the last one the type holds; it is quarantined anyway."""
    return f"fromUnixTimestamp64Nano(toInt64(least({number}, 9223372036854775807)), 'UTC')"
