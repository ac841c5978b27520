"""A/B events from JSON to columns and blocks."""

import json
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import InvalidArgument, MillstreamError, TooLarge, ValidationFailed
from infra.runtime.settings import IngestSettings
from ingest import event_blocks, events
from ingest.json_rows import Received
from schemas.blocks import MAX_UNITS, Block

NOW_US = 1_790_000_000_000_000
SETTINGS = IngestSettings(max_rows=3_000)
RECEIVED = Received("acme", NOW_US, "evt_x_", "sdk/1", "http")


def event(**fields: Any) -> dict[str, Any]:
    return {"user_id": "u1", "event_type": "view", **fields}


def batch(*items: Any) -> events.EventRows:
    return events.decode_batch(json.dumps({"events": items}).encode(), RECEIVED, SETTINGS)


def stored(*parts: events.EventRows) -> list[dict[str, Any]]:
    """The rows of a block of the parts."""
    with pa.ipc.open_stream(event_blocks.assembler(SystemClock(), SETTINGS)(parts, "b").body) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    return rows


def test_every_field_becomes_its_column() -> None:
    given = event(experiment_id="e", variant="a", timestamp="2026-09-01T00:00:00Z", metadata={"value": 2}, id="mine")
    (row,) = stored(batch(given))
    assert row.pop("time").isoformat() == "2026-09-01T00:00:00+00:00" and row.pop("received").timestamp() == NOW_US / 1e6
    assert row == {
        "tenant": "acme", "experiment": "e", "unit": "u1", "event_type": "view", "variant": "a", "event_id": "mine", "keyed": 1, "sdk": "sdk/1",
        "source": "http", "quarantined": 0, "metadata": b'{"value": 2}', "extra": "",
    }  # fmt: skip


def test_a_request_of_many_rows_has_the_same_columns_as_its_events_sent_one_by_one() -> None:
    items = [
        event(), event(id="mine", variant="a", experiment_id="e"), event(timestamp="1950-01-01T00:00:00Z", metadata={"value": 1.5, "é": [1]}),
        event(user_id="ü", timestamp="2026-09-01T00:00:00.25+02:00", color="red"), event(metadata=None),
    ]  # fmt: skip
    together = batch(*items)
    many = event_blocks.EventColumns.of([together], SETTINGS)
    alone = [
        msgspec.structs.replace(events.decode_single(json.dumps(item).encode(), RECEIVED, SETTINGS), ids=[name])
        for item, name in zip(items, together.ids, strict=True)
    ]
    few = event_blocks.EventColumns.of(alone, SETTINGS)
    assert few == many and [column.type for column in few.columns.values()] == [column.type for column in many.columns.values()]
    assert list(few.columns) == list(many.columns)
    assert stored(*alone) == stored(together)
    twice = event_blocks.EventColumns.of([together, together], SETTINGS)
    assert twice.rows == 2 * many.rows
    assert all(twice.columns[name].to_pylist() == 2 * column.to_pylist() for name, column in many.columns.items())


def test_what_is_left_out_has_its_default() -> None:
    (row,) = stored(batch(event()))
    assert (row["experiment"], row["variant"], row["event_id"], row["keyed"], row["metadata"]) == ("", "", "evt_x_0", 0, b"")
    assert int(row["time"].timestamp() * 1e6) == NOW_US


def test_unknown_fields_are_kept_as_they_came() -> None:
    rows = stored(batch(event(), event(color="red", nested={"a": [1, 1.50]})))
    assert [json.loads(row["extra"] or "{}") for row in rows] == [{}, {"color": "red", "nested": {"a": [1, 1.5]}}]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"event_type": "view"}, "user_id"),
        (event(user_id=""), "user_id"),
        (event(user_id="x" * 513), "user_id"),
        (event(user_id=None), "user_id"),
        (event(user_id=7, unknown=1), "user_id"),
        (event(timestamp="soon"), "timestamp"),
        (event(timestamp=12), "timestamp"),
        (event(metadata=[1]), "metadata"),
        (event(metadata="text"), "metadata"),
        (event(variant=1), "variant"),
    ],
)
def test_a_bad_item_is_named_and_the_others_are_taken(item: dict[str, Any], field: str) -> None:
    rows = batch(event(), item, event(id="last"))
    assert [(error.index, error.field) for error in rows.errors] == [(1, field)] and rows.errors[0].message
    assert rows.rows == 2 and rows.ids[1] == "last" and len(set(rows.ids)) == 2
    with pytest.raises(ValidationFailed) as failed:
        events.decode_single(json.dumps(item).encode(), RECEIVED, SETTINGS)
    assert failed.value.details == {"field": field}


@pytest.mark.parametrize("body", [b"", b"{", b'{"events": [', b"\xff", b'{"events": [{"user_id": "a", "event_type": "b"},]}', b"NaN"])
def test_what_is_no_json_is_an_invalid_argument(body: bytes) -> None:
    for decode in (events.decode_batch, events.decode_single):
        with pytest.raises(InvalidArgument):
            decode(body, RECEIVED, SETTINGS)


@pytest.mark.parametrize(
    "item", [rb'{"user_id": "\q", "event_type": "e"}', rb'{"user_id": "a", "event_type": "e", "x": "\q"}', b'{"user_id": 5, "event_type": "e", "x": 01}']
)
def test_an_item_that_is_no_json_is_refused_alone_or_with_its_batch(item: bytes) -> None:
    with pytest.raises((InvalidArgument, ValidationFailed)):
        events.decode_single(item, RECEIVED, SETTINGS)
    try:
        rows = events.decode_batch(b'{"events": [' + item + b', {"user_id": "good", "event_type": "e"}]}', RECEIVED, SETTINGS)
    except InvalidArgument:
        return
    assert rows.rows == 1 and len(rows.errors) == 1 and rows.events[0].user_id == "good"


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"events": 1}', b'{"events": {}}', b"null", b'"events"'])
def test_what_is_no_batch_fails_validation(body: bytes) -> None:
    with pytest.raises(ValidationFailed):
        events.decode_batch(body, RECEIVED, SETTINGS)


@pytest.mark.parametrize("text", ["[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000, "[" * 70 + "]" * 70])
def test_deep_nesting_is_refused_without_a_crash(text: str) -> None:
    body = b'{"user_id": "u", "event_type": "e", "metadata": {"a": %s}}' % text.encode()
    with pytest.raises(MillstreamError) as failed:
        events.decode_single(body, RECEIVED, SETTINGS)
    assert failed.value.kind.http in (400, 422)
    try:
        rows = events.decode_batch(b'{"events": [' + body + b"]}", RECEIVED, SETTINGS)
    except MillstreamError as error:
        assert error.kind.http in (400, 422)
    else:
        assert rows.rows == 0 and len(rows.errors) == 1


def test_too_many_events_are_refused() -> None:
    with pytest.raises(TooLarge):
        batch(*[event()] * 3_001)
    with pytest.raises(TooLarge):
        batch({"bad": 1}, *[event()] * 3_000)


def test_an_empty_batch_has_no_rows() -> None:
    assert (batch().rows, batch().ids, batch().errors) == (0, [], [])


def test_a_block_holds_the_parts_and_says_what_it_touches() -> None:
    at = "2026-09-01T00:00:30Z"
    parts = [
        batch(event(experiment_id="e", timestamp=at, id="1"), event(experiment_id="e", user_id="u2", timestamp="2026-09-01T00:02:00Z")),
        batch(event(experiment_id="f"), event(), event(experiment_id="old", timestamp="1950-01-01T00:00:00Z")),
    ]
    block = event_blocks.assembler(SystemClock(), SETTINGS)(parts, "batch-1")
    assert (block.rows, block.batch_id, block.schema_id) == (5, "batch-1", "events/1")
    touched = {each.subject: each for each in block.touched}
    minute = int(1_788_220_800 / 60)
    assert touched.keys() == {"e", "f"}, "no experiment and quarantined events touch nothing"
    assert touched["e"].minutes == (minute, minute + 2) and set(touched["e"].units or ()) == {"u1", "u2"} and touched["e"].keyed
    assert not touched["f"].keyed and touched["f"].tenant == "acme"
    assert Block.from_record("events", block.headers(), block.body) == block


@pytest.mark.parametrize("count", [10, 1_500, MAX_UNITS, MAX_UNITS + 1])
def test_few_units_are_named_and_many_are_not(count: int) -> None:
    rows = batch(*(event(experiment_id="e", user_id=f"u{n}") for n in range(count)), event(experiment_id="f", user_id="x"))
    touched = {each.subject: each for each in event_blocks.assembler(SystemClock(), SETTINGS)([rows], "b").touched}
    expected = {f"u{n}" for n in range(count)} if count <= MAX_UNITS else None
    assert (set(units) if (units := touched["e"].units) is not None else None) == expected
    assert touched["f"].units == ("x",)


def test_parts_of_several_tenants_stay_apart() -> None:
    other = events.decode_batch(json.dumps({"events": [event(experiment_id="e")]}).encode(), Received("other", NOW_US + 1, "evt_y_"), SETTINGS)
    rows = stored(batch(event(), event()), other)
    assert [(row["tenant"], row["event_id"], int(row["received"].timestamp() * 1e6) - NOW_US) for row in rows] == [
        ("acme", "evt_x_0", 0), ("acme", "evt_x_1", 0), ("other", "evt_y_0", 1),
    ]  # fmt: skip
