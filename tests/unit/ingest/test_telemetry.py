"""Crucible telemetry from JSON to columns and blocks."""

import json
from typing import Any

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import InvalidArgument, TooLarge, ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest import telemetry
from ingest.json_rows import Received
from schemas.blocks import Block

NOW_US = 1_790_000_000_000_000
SETTINGS = IngestSettings(max_rows=100)
RECEIVED = Received("acme", NOW_US, "evt_x_")


def batch(*items: Any) -> telemetry.TelemetryRows:
    return telemetry.decode(json.dumps({"events": items}).encode(), RECEIVED, SETTINGS)


def test_every_field_becomes_its_column() -> None:
    (row,) = batch(
        {"event_name": ["run", "stop"], "measurements": {"ms": 1}, "metadata": {"experiment_id": "e"}, "timestamp": "2026-09-01T00:00:00Z", "id": "m", "x": [1]}
    ).table.to_pylist()
    assert row.pop("time").isoformat() == "2026-09-01T00:00:00+00:00" and int(row.pop("received").timestamp() * 1e6) == NOW_US
    assert json.loads(row.pop("extra")) == {"x": [1]}
    assert row == {
        "tenant": "acme", "event_name": "run.stop", "experiment": "e", "event_id": "m", "keyed": 1, "quarantined": 0, "measurements": b'{"ms": 1}',
        "metadata": b'{"experiment_id": "e"}',
    }  # fmt: skip


def test_what_is_left_out_has_its_default() -> None:
    (row,) = batch({"event_name": "run"}).table.to_pylist()
    assert (row["event_id"], row["keyed"], row["experiment"], row["measurements"], row["extra"]) == ("evt_x_0", 0, "", b"", "")


@pytest.mark.parametrize("metadata", [{"experiment_id": 7}, {}, {"experiment_id": None}])
def test_an_experiment_that_is_no_text_is_none(metadata: dict[str, Any]) -> None:
    (row,) = batch({"event_name": "run", "metadata": metadata}).table.to_pylist()
    assert row["experiment"] == ""


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({}, "event_name"),
        ({"event_name": ""}, "event_name"),
        ({"event_name": []}, "event_name"),
        ({"event_name": 5}, "event_name"),
        ({"event_name": "x", "measurements": [1]}, "measurements"),
        ({"event_name": "x", "metadata": 5}, "metadata"),
        ({"event_name": "x", "timestamp": "soon"}, "timestamp"),
        ({"event_name": ["x" * 500, "y" * 12]}, "event_name"),
        ({"event_name": "x", "measurements": {"a": {"b": [-(10**309)]}}}, "measurements"),
        ({"event_name": "x", "metadata": {"a": 10**4_000}}, "metadata"),
    ],
)
def test_a_bad_item_is_named_and_the_others_are_taken(item: dict[str, Any], field: str) -> None:
    rows = batch({"event_name": "a"}, item, {"event_name": "b"})
    assert [(error.index, error.field) for error in rows.errors] == [(1, field)]
    assert [row["event_name"] for row in rows.table.to_pylist()] == ["a", "b"] and rows.rows == 2


@pytest.mark.parametrize("number", ["1e999", "-1.8e308", "9" * 400 + ".5"])
def test_a_number_beyond_a_double_is_refused_with_its_field(number: str) -> None:
    body = f'{{"events": [{{"event_name": "a", "measurements": {{"ms": 1, "loss": {number}}}}}, {{"event_name": "b"}}]}}'
    rows = telemetry.decode(body.encode(), RECEIVED, SETTINGS)
    (error,) = rows.errors
    assert (error.index, error.field, rows.rows) == (0, "measurements", 1) and "1.8e308" in error.message


def test_what_only_looks_like_a_large_number_is_taken() -> None:
    kept = {"text": "9" * 400, "named 1e999": 1.7e308, "long": int("9" * 308), "small": 1e-320}
    (row,) = batch({"event_name": ["x" * 500, "y" * 11], "measurements": kept}).table.to_pylist()
    assert json.loads(row["measurements"]) == kept and len(row["event_name"]) == 512


def test_what_is_no_batch_is_refused() -> None:
    for body in (b"", b"{", b"\xff\xfe", b'{"events": [1,]}'):
        with pytest.raises(InvalidArgument):
            telemetry.decode(body, RECEIVED, SETTINGS)
    for body in (b"[]", b"{}", b'{"events": 1}'):
        with pytest.raises(ValidationFailed):
            telemetry.decode(body, RECEIVED, SETTINGS)
    with pytest.raises(TooLarge):
        batch(*[{"event_name": "x"}] * 101)


@pytest.mark.parametrize(
    "item", [rb'{"event_name": "\q"}', rb'{"event_name": "a", "x": "\ud800"}', b'{"event_name": "a", "measurements": {"a": 01}}', b'{"event_name": "\x01"}']
)
def test_an_item_that_is_no_json_is_refused_alone_or_with_its_batch(item: bytes) -> None:
    try:
        rows = telemetry.decode(b'{"events": [' + item + b', {"event_name": "good"}]}', RECEIVED, SETTINGS)
    except InvalidArgument:
        return
    assert rows.rows + len(rows.errors) == 2 and "good" in [row["event_name"] for row in rows.table.to_pylist()]


def test_a_block_holds_the_parts_and_names_its_events() -> None:
    block = telemetry.assembler(SystemClock())([batch({"event_name": "a"}), batch({"event_name": "b"}, {"event_name": "a"})], "batch-1")
    assert (block.rows, block.schema_id) == (3, "telemetry/1") and {touched.subject for touched in block.touched} == {"a", "b"}
    assert Block.from_record("telemetry", block.headers(), block.body) == block


@pytest.mark.parametrize(
    "item",
    [
        {"event_name": "run"},
        {"event_name": ["run", "stop"], "id": "m", "timestamp": "2026-09-01T00:00:00.5+02:00"},
        {"event_name": "run", "measurements": {"a": 1.5e300, "b": [1, {"c": 2}]}, "metadata": {"experiment_id": "e", "deep": {"x": None}}},
        {"event_name": "run", "measurements": None, "metadata": None, "timestamp": None, "id": None},
        {"event_name": "run", "metadata": {"experiment_id": 5}, "timestamp": "1971-01-01"},
        {"event_name": "run", "metadata": {"text": "1e400 \u00e9"}},
    ],
)
def test_an_event_is_the_same_beside_one_that_is_refused(item: dict[str, Any]) -> None:
    """A batch without a fault is looked at as a whole, another one event by event."""
    whole, beside = batch(item), batch(item, {"event_name": 5})
    assert len(beside.errors) == 1 and whole.table.to_pylist() == beside.table.to_pylist()
    assert whole.table.schema == beside.table.schema
