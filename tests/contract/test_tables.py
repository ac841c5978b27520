"""Declared tables against those of a server: made, compared, extended."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from infra.provision import tables
from infra.runtime.clickhouse import ClickHouse
from infra.runtime.settings import ClickHouseSettings
from query_api.readers.attribute_condition import AttributeIs, attribute_condition
from query_api.readers.conditions import Conditions
from schemas.any_value import encode
from schemas.tables.cost_usage import COST_USAGE
from schemas.tables.spans import SPANS
from tests.contract.clickhouse import Server


@pytest.fixture
async def settings(server: Server) -> AsyncIterator[ClickHouseSettings]:
    made = ClickHouseSettings(url=server.url, user=server.writer, database=f"tables_{uuid4().hex}")
    plain = server.client(database="")
    await tables.create_database(plain, made)
    yield made
    await plain.command(f"DROP DATABASE {made.database}")
    await plain.aclose()


@pytest.fixture
async def clickhouse(server: Server, settings: ClickHouseSettings) -> AsyncIterator[ClickHouse]:
    client = server.client(database=settings.database)
    yield client
    await client.aclose()


async def test_what_was_made_is_as_declared(clickhouse: ClickHouse, settings: ClickHouseSettings) -> None:
    await tables.apply(clickhouse, await tables.differences(clickhouse, settings))
    assert await tables.differences(clickhouse, settings) == []


async def test_settings_follow(clickhouse: ClickHouse, settings: ClickHouseSettings) -> None:
    older = SPANS.create(100, 1)[0].replace("merge_selector_base = 12, ", "")
    assert "merge_selector_base" not in older
    await clickhouse.command(older)
    (wanted,) = [each for each in await tables.differences(clickhouse, settings) if each.table is SPANS]
    assert wanted.what == f"set of spans: merge_selector_base = 12, non_replicated_deduplication_window = {settings.dedup_window}"
    await tables.apply(clickhouse, [wanted])
    assert not [each for each in await tables.differences(clickhouse, settings) if each.table is SPANS]


async def test_a_new_column_may_extend_the_order(clickhouse: ClickHouse, settings: ClickHouseSettings) -> None:
    old = COST_USAGE.create(settings.dedup_window, 1)[0].replace("    project LowCardinality(String),\n", "").replace(", unit, project)", ", unit)")
    await clickhouse.command(old)
    await clickhouse.command("INSERT INTO cost_usage (tenant, unit, quantity) VALUES ('t', 'u', 1)")
    await tables.apply(clickhouse, await tables.differences(clickhouse, settings))
    assert await tables.differences(clickhouse, settings) == []
    await clickhouse.command("INSERT INTO cost_usage (tenant, unit, project, quantity) VALUES ('t', 'u', 'p', 2)")
    assert await clickhouse.query("SELECT project, quantity FROM cost_usage FINAL ORDER BY quantity") == [
        {"project": "", "quantity": 1},
        {"project": "p", "quantity": 2},
    ]


async def test_indices_are_added_and_dropped_and_rows_from_before_are_found(clickhouse: ClickHouse, settings: ClickHouseSettings) -> None:
    lines = SPANS.create(settings.dedup_window, 1)[0].split("\n")
    first = next(at for at, line in enumerate(lines) if line.startswith("    pairs "))
    origin = next(at for at, line in enumerate(lines) if line.startswith("    part "))
    older = [line for at, line in enumerate(lines) if not first <= at < origin]
    await clickhouse.command("\n".join(older).replace("INDEX attribute_pairs pairs TYPE", "INDEX pairs mapValues(attributes) TYPE"))
    insert = "INSERT INTO spans (tenant, trace_id, span_id, received, attributes) VALUES"
    value = encode("gold").hex()
    await clickhouse.command(f"{insert} ('t', 'old', 's', now64(6), map('tier', unhex('{value}'))), ('t', 'other', 's', now64(6), map('tier', 'x'))")
    wanted = [each for each in await tables.differences(clickhouse, settings) if each.table is SPANS]
    assert [each.what for each in wanted] == ["add column spans.pairs Array(UInt32)", "add index spans.attribute_pairs", "drop index spans.pairs"]
    await tables.apply(clickhouse, wanted)
    assert not [each for each in await tables.differences(clickhouse, settings) if each.table is SPANS]
    await clickhouse.command(f"{insert} ('t', 'new', 's', now64(6), map('tier', unhex('{value}')))")
    roughly = attribute_condition(Conditions(["tenant = 't'"]), "a", AttributeIs("tier", "gold"), roughly=True)
    found = await clickhouse.query(f"SELECT trace_id FROM spans WHERE {roughly.where} ORDER BY trace_id", roughly.params)
    assert [row["trace_id"] for row in found] == ["new", "old"]


async def test_another_order_is_told_and_left_alone(clickhouse: ClickHouse, settings: ClickHouseSettings) -> None:
    await clickhouse.command(COST_USAGE.create(settings.dedup_window, 1)[0].replace(COST_USAGE.order_by, "(tenant, unit)"))
    found = [each for each in await tables.differences(clickhouse, settings) if each.table is COST_USAGE]
    assert [each.statements for each in found] == [()] and "is ordered by (tenant, unit), declared" in str(found[0])
