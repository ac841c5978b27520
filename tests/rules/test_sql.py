"""SQL stands where it belongs: in the readers, the table declarations and the store of definitions, and is never made from input."""

import re

from tests.rules.source import modules, name_of, texts

_STATEMENT = re.compile(
    r"\s*(?:SELECT|INSERT\s+INTO|ALTER\s+TABLE|CREATE\s+(?:TABLE|DATABASE|MATERIALIZED)|DELETE\s+FROM|UPDATE\s+\w+\s+SET|DROP\s+(?:TABLE|DATABASE)|WITH\s+\w+\s+AS)\b"
)
_ALLOWED = (
    "infra/embedded/",  # the engine itself
    "infra/provision/",  # brings tables to their declaration
    "infra/runtime/clickhouse.py",
    "query_api/control/",
    "query_api/readers/",
    "schemas/otlp_sql.py",
    "schemas/unit_metric_sql.py",  # what a metric is over the events: computed by the streams, recomputed by the replay
    "schemas/tables/",
    "streams/readers/",
    "streams/rows.py",  # the INSERT of rows into a declared table
)
_PROBES = {"infra/cli/doctor.py": 1, "query_api/app.py": 1}
"""Files with that many statements that only ask whether ClickHouse answers."""


def _found() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in modules("infra", "ingest", "query_api", "schemas", "streams"):
        name = name_of(path)
        if not name.startswith(_ALLOWED):
            statements = [f"{name}:{line}: {text.strip()[:80]}" for line, text in texts(path) if _STATEMENT.match(text)]
            if len(statements) > _PROBES.get(name, 0):
                found[name] = statements
    return found


def test_sql_is_in_its_rooms() -> None:
    assert not _found()


def test_the_rule_sees_sql() -> None:
    assert _STATEMENT.match("SELECT 1") and _STATEMENT.match("\n INSERT INTO t") and not _STATEMENT.match("Selects nothing")
    assert any(_STATEMENT.match(text) for path in modules("query_api") if "readers" in path.parts for _, text in texts(path))
