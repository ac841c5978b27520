"""Writes the generated pages of this folder: `python -m infra.docs.generate`. A test compares them with what stands here."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from infra.docs.command_line import command_line
from infra.runtime.errors import KINDS
from infra.runtime.metric_names import METRICS
from infra.runtime.settings import Settings
from schemas.default_prices import AS_OF, DEFAULT_PRICE_LIST, VENDORS
from schemas.lineage import AGENTS, SERVICES, UNREAD, lineage
from schemas.lineage_readers import READERS
from schemas.permissions import MEANINGS, ROLE_PERMISSIONS
from schemas.tables.catalog import TABLES
from schemas.topics import TOPICS

FOLDER: Final = Path(__file__).parent


def settings_page() -> str:
    """Every setting with variable, default and meaning."""
    lines = [
        "# Settings",
        "",
        "Each is an environment variable, read once at start. `millstream doctor` shows what is reached with them.",
    ]
    lines += _section("General", "The platform as a whole.", _fields(Settings, "MILLSTREAM_"))
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseSettings):
            lines += _section(name.capitalize(), section.__doc__ or "", _fields(section, f"MILLSTREAM_{name.upper()}_"))
    return _page(lines)


def metrics_page() -> str:
    """Every Prometheus metric."""
    where = {"ingest": "`/metrics` on the main port", "streams": "`/metrics` on the worker metrics port", "query": "`/metrics` on the query port"}
    lines = ["# Metrics", "", "Prometheus, one endpoint for each service. Times are seconds, sizes are bytes.", ""]
    rows = [
        (f"`{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), where[metric.service], metric.meaning)
        for metric in METRICS.values()
    ]
    return _page(lines + _table(("metric", "kind", "labels", "where", "meaning"), rows))


def errors_page() -> str:
    """Every error code on every transport."""
    lines = [
        "# Errors",
        "",
        "The code is stable. Surfaces with documents of their own may show it under another name (`schemas/surfaces.py`).",
        "Retryable: the same request may succeed later; `Retry-After` says when.",
        "",
    ]
    rows = [(f"`{e.code}`", str(e.http), str(e.grpc), str(e.close), "yes" if e.retryable else "", e.meaning) for e in KINDS.values()]
    return _page(lines + _table(("code", "HTTP", "gRPC", "WebSocket close", "retryable", "meaning"), rows))


def permissions_page() -> str:
    """Every permission with the roles that have it."""
    lines = [
        "# Permissions",
        "",
        "A user has the role admin, analyst, developer or viewer, or member when created over the LLM surface; a program's key has one of these, ingest or read.",
        "Scopes of a key, where it has any, stand in place of its role: `admin`, `ingest` and `read` allow what the role of that name may do.",
        "A request without the permission it needs answers 403 and names the roles that have it. Declared in `schemas/permissions.py`.",
        "",
    ]
    rows = [(f"`{name}`", *("yes" if name in held else "" for held in ROLE_PERMISSIONS.values()), meaning) for name, meaning in MEANINGS.items()]
    return _page(lines + _table(("permission", *ROLE_PERMISSIONS, "meaning"), rows))


def topics_page() -> str:
    """Every topic with who fills and who empties it."""
    into = {topic.name: [p.name for p in (*AGENTS, *SERVICES) if topic in p.publishes] for topic in TOPICS}
    out = {
        topic.name: [p.name for p in (*AGENTS, *SERVICES) if topic in p.consumes or topic in p.follows] + [r.name for r in READERS if topic in r.consumes]
        for topic in TOPICS
    }
    doors = {edge.target.removeprefix("topic:") for edge in lineage()[1] if edge.source.startswith("door:")}
    lines = ["# Topics", "", "`millstream topics apply` creates them; `infra/provision/topics.py` says how.", ""]
    rows = []
    for topic in TOPICS:
        kept = "newest of each key" if topic.compacted else "for the retention time"
        partitions = "1" if topic.single_partition else "setting"
        sources = ["doors"] * (topic.name in doors) + into[topic.name]
        rows.append((f"`{topic.name}`", topic.holds.value, topic.key, partitions, kept, ", ".join(sources), ", ".join(out[topic.name]), topic.meaning))
    return _page(lines + _table(("topic", "holds", "key", "partitions", "kept", "from", "to", "meaning"), rows))


def tables_page() -> str:
    """Every table with every column."""
    lines = ["# Tables", "", "`millstream tables apply` creates them in ClickHouse. One writer each."]
    for table in TABLES:
        readers = [program.name for program in AGENTS if table in program.reads] + [f"the API ({reader.name})" for reader in READERS if table in reader.tables]
        lines += ["", f"## {table.name}", "", table.meaning, ""]
        lines += [f"- Engine `{table.engine}`, ordered by `{table.order_by}`" + (f", partitioned by `{table.partition_by}`" if table.partition_by else "")]
        lines += [f"- Written by: {table.writer}", f"- Read by: {', '.join(readers) or UNREAD[table.name] + ', later'}", ""]
        lines += _table(("column", "type", "meaning"), [(f"`{c.name}`", f"`{c.type}`", c.meaning) for c in table.all_columns])
    return _page(lines)


def prices_page() -> str:
    """The price list that is shipped."""
    prices = DEFAULT_PRICE_LIST
    lines = [
        "# Default prices",
        "",
        f"The price list `{prices.id}`, in {prices.currency}. It prices what a tenant uses until the tenant applies one of its own (`kind: price_list`,",
        "[command line](cli.md)); usage since the `effective_from` of that one is priced again then. Prices of models are per million tokens, as their",
        f"vendors listed them on {AS_OF} (read by way of the table LiteLLM 1.109.1 ships; of retired models the last price listed), for text, at the",
        "standard tier and without surcharges for long contexts. Each also holds for the model's dated snapshots and `-latest`. A model that is not",
        "listed has no price, and its windows say so.",
    ]
    for vendor, (source, models) in VENDORS.items():
        rows = [(f"`{model}`", *(f"{price:g}" for price in each), *[""] * (3 - len(each))) for model, each in models.items()]
        lines += ["", f"## {vendor}", "", f"Source: {source}", "", *_table(("model", "input", "output", "input from the cache"), rows)]
    rows = [
        ("a million metric points", f"{prices.per_million_metric_points:g}"),
        ("an active series, an hour", f"{prices.per_active_series_hour:g}"),
        ("a GiB stored, once", f"{prices.per_gib_stored:g}"),
    ]
    return _page([*lines, "", "## Telemetry", "", "Round figures, not those of a vendor.", "", *_table(("what", "price"), rows)])


PAGES: Final[dict[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "errors.md": errors_page,
    "permissions.md": permissions_page,
    "cli.md": command_line,
    "topics.md": topics_page,
    "tables.md": tables_page,
    "prices.md": prices_page,
}
"""Every generated page by file name."""


def _fields(section: type[BaseSettings], prefix: str) -> list[tuple[str, str, str]]:
    rows = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        value = default.get_secret_value() if isinstance(default, SecretStr) else default
        rows.append((f"`{prefix}{name.upper()}`", f"`{value}`" if value not in ("", None) else "", field.description or ""))
    return rows


def _section(title: str, about: str, rows: Sequence[tuple[str, str, str]]) -> list[str]:
    return ["", f"## {title}", "", about, "", *_table(("variable", "default", "meaning"), rows)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return lines + [f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in row)} |" for row in rows]


def _page(lines: Sequence[str]) -> str:
    return "\n".join([lines[0], "", "<!-- Generated by `make docs`; change the code instead. -->", *lines[1:]]).rstrip() + "\n"


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), "utf-8")


if __name__ == "__main__":
    main()
