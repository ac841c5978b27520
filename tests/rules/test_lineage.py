"""The declared lineage is the code's, and nothing in it is an orphan."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute

import streams.app
from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import SystemClock
from infra.runtime.producer import Producer
from infra.runtime.settings import Settings
from query_api.surfaces.catalogue import SURFACES as QUERY_SURFACES
from query_api.surfaces.crucible import doors as crucible_doors
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.experimentation import doors as experimentation_doors
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from schemas.definitions import Definitions
from schemas.lineage import AGENTS, DOOR_TOPICS, SERVICES, SINKS, UNREAD, Program, lineage
from schemas.lineage_readers import READERS
from schemas.surfaces import SURFACES
from schemas.tables.catalog import BY_NAME, TABLES
from schemas.topics import TOPICS
from tests.rules.source import ROOT, modules, texts

_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO)\s+([a-z_]+|\{\})", re.IGNORECASE)
_KEYLESS = {"health", "lineage", "pages"}
_ABOUT = {"GET /platform/v1/live", "GET /experimentation/api/v1/power"}
"""Routes that describe or calculate, and serve no data."""


_DOORS = {EXPERIMENTATION.name: experimentation_doors.router, CRUCIBLE.name: crucible_doors.router}
"""By surface, the routes that describe what ingest serves."""


def _edges(kind: str) -> Counter[tuple[str, str]]:
    return Counter((edge.source, edge.target) for edge in lineage()[1] if edge.kind == kind)


def test_the_graph_is_one_and_the_same() -> None:
    nodes, edges = lineage()
    names = {node.name for node in nodes}
    assert (nodes, edges) == lineage()
    assert len(names) == len(nodes)
    assert {edge.source for edge in edges} | {edge.target for edge in edges} == names, "a station without a way to it or from it"


def test_every_topic_is_filled_and_emptied() -> None:
    filled = {target for _, target in _edges("publishes")}
    emptied = {source for source, _ in _edges("consumes") + _edges("follows")}
    for topic in TOPICS:
        assert f"topic:{topic.name}" in filled, topic.name
        assert f"topic:{topic.name}" in emptied, topic.name


def test_every_table_is_written_and_read() -> None:
    written = {target for _, target in _edges("writes")}
    read = {source for source, _ in _edges("reads")}
    for table in TABLES:
        assert f"table:{table.name}" in written, table.name
        assert (f"table:{table.name}" in read) != (table.name in UNREAD), table.name


def test_every_agent_takes_and_gives() -> None:
    for agent in AGENTS:
        assert agent.consumes and (agent.writes or agent.publishes), agent.name


def test_writers_are_those_the_tables_name() -> None:
    for table in TABLES:
        declared = {agent.name for agent in AGENTS if table in agent.writes}
        named = table.writer.split(", each")[0]
        words = {"sinks": [sink.name for sink in SINKS]}.get(named, re.split(r", | and ", named.replace(" sink", "_sink")))
        assert declared == set(words), table.name


def test_declared_agents_are_the_registered_ones() -> None:
    settings = Settings()
    clickhouse = ClickHouse(settings.clickhouse.url, "", "", settings.clickhouse.database)
    parts = streams.app.Parts(settings, SystemClock(), clickhouse, Producer(settings.kafka), Definitions(), "rules")
    agents = cast(dict[str, Any], dict(streams.app.create_app(parts).agents))
    registered = {name.rpartition(".")[2]: {topic for channel in [agent.channel] for topic in channel.topics} for name, agent in agents.items()}
    assert registered == {agent.name: {topic.name for topic in agent.consumes} for agent in AGENTS}


def test_every_door_leads_to_a_topic() -> None:
    assert {door for surface in SURFACES for door in (*surface.doors.values(), *surface.protocols.values())} == set(DOOR_TOPICS)


_SHARED_SQL = {
    module: ROOT / f"{module.replace('.', '/')}.py"
    for module in ("schemas.unit_metric_sql", "query_api.readers.visible_spans", "query_api.readers.newest_spans", "query_api.readers.trace_ids")
}
"""Statements and conditions that several readers use: whoever imports them reads their tables."""


def _tables_in(path: Path) -> set[str]:
    read = [path, *(shared for module, shared in _SHARED_SQL.items() if module in path.read_text("utf-8"))]
    return {name for each in read for _, text in texts(each) for name in _TABLE.findall(text) if name in BY_NAME}


def _names_windows(path: Path) -> bool:
    return "schemas.tables.windows" in path.read_text("utf-8")


@pytest.mark.parametrize("name", [reader.name for reader in READERS if reader.tables])
def test_readers_read_what_they_declare(name: str) -> None:
    path = ROOT / "query_api" / "readers" / f"{name}.py"
    declared = {table.name for reader in READERS if reader.name == name for table in reader.tables}
    found = _tables_in(path) | ({each for each in BY_NAME if each.startswith("windows_")} if _names_windows(path) else set())
    assert found == declared


def test_every_reader_with_sql_is_declared() -> None:
    folder = ROOT / "query_api" / "readers"
    with_sql = {path.stem for path in modules("query_api") if path.parent == folder and path not in _SHARED_SQL.values() and _tables_in(path)}
    assert with_sql == {reader.name for reader in READERS if reader.tables}


def test_agents_read_and_write_what_they_declare() -> None:
    found = set().union(*(_tables_in(path) for path in modules("streams")))
    declared = {table.name for agent in AGENTS for table in (*agent.reads, *agent.writes)}
    assert found <= declared
    for table in declared - found:
        # Window tables are named by kind, fed tables by their topic, tables with a view by their source, the rest by a constant that names the table alone.
        assert (
            table.startswith("windows_")
            or BY_NAME[table].feed
            or BY_NAME[table].view_source
            or any(text == table for path in modules("streams") for _, text in texts(path))
        ), table


def test_the_computations_have_a_file_each() -> None:
    for agent in AGENTS:
        if agent not in SINKS:
            assert (ROOT / "streams" / f"{agent.name}.py").exists(), agent.name


def _has_a_file(program: Program) -> bool:
    folders = {"ingest": ["ingest"], "streams": ["streams"], "query": ["query_api", "query_api/control", "query_api/domain"], "cli": ["infra/cli"]}[
        program.service
    ]
    return any((ROOT / folder / f"{program.name}.py").exists() for folder in folders)


def test_programs_beside_the_agents_have_a_file_each() -> None:
    assert not [program.name for program in SERVICES if not _has_a_file(program)]


def _routes() -> set[str]:
    found = set()
    for policy, routers in QUERY_SURFACES:
        for router, base in [*((router, policy.base) for router in routers), *((router, "") for router in policy.beside_base)]:
            if set(router.tags) & _KEYLESS or router in _DOORS.values():
                continue
            for route in router.routes:
                if isinstance(route, APIRoute) and route.include_in_schema and not set(route.tags) & _KEYLESS:
                    found |= {f"{method} {policy.prefix}{base}{route.path}" for method in route.methods or ()}
                elif isinstance(route, APIWebSocketRoute):
                    found.add(f"WS {policy.prefix}{base}{route.path}")
    return found


@pytest.mark.parametrize("name", _DOORS)
def test_described_doors_are_the_doors(name: str) -> None:
    policy = next(policy for policy, _ in QUERY_SURFACES if policy.name == name)
    described = {f"{method} {policy.base}{route.path}" for route in _DOORS[name].routes if isinstance(route, APIRoute) for method in route.methods or ()}
    assert described == set(policy.surface.doors)


def test_paths_are_the_routes_of_the_query_service() -> None:
    declared = {path for reader in READERS for path in reader.paths}
    assert declared == _routes() - _ABOUT
