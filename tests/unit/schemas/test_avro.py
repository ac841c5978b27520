"""Avro records survive the trip, refuse rubbish, and stay readable both ways over every stored version."""

import copy
import json
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest

from schemas.avro import (
    AVRO_TYPES,
    AvroType,
    EvaluationTask,
    KeyUse,
    Mark,
    WindowUpdate,
    decode_control,
    decode_evaluation_task,
    decode_key_use,
    decode_mark,
    decode_update,
    encode_control,
    encode_evaluation_task,
    encode_key_use,
    encode_mark,
    encode_update,
)
from schemas.definition_kinds import ControlRecord

HISTORY = Path(__file__).parent / "avro_history"

CONTROL_RECORD = ControlRecord("metric", "acme", "größe/1", 3, False, '{"a":1}', 1_700_000_000_000_001)
UPDATE_RECORD = WindowUpdate("cost", "acme", "service/shop", "1m", 60_000_000, 2, 99, {"spans:0": 41, "spans:1": 7}, "{}")
MARK_RECORD = Mark("acme", "checkout", "events", 2, 2**40, "b-1", (28_333_333, 28_333_334), ("u1", "ü2"), 500, False, 17, "recompute")
KEY_USE_RECORD = KeyUse("acme", "k1", 1_700_000_000_000_001)
TASK_RECORD = EvaluationTask("acme", "rule_1", "polite", "span", "ab" * 16, "cd" * 8, "shop", 1_700_000_000_000_001, "größe {{x}}", "{}", 2)
SAMPLES: dict[str, Any] = {"control": CONTROL_RECORD, "update": UPDATE_RECORD, "mark": MARK_RECORD, "key_use": KEY_USE_RECORD, "evaluation_task": TASK_RECORD}


def _stored(kind: AvroType) -> list[dict[str, Any]]:
    files = sorted(HISTORY.glob(f"{kind.name}.v*.avsc"), key=lambda path: int(path.stem.rsplit(".v", 1)[1]))
    return [json.loads(path.read_text()) for path in files]


def test_records_survive_the_trip() -> None:
    assert decode_control(encode_control(CONTROL_RECORD)) == CONTROL_RECORD
    assert decode_update(encode_update(UPDATE_RECORD)) == UPDATE_RECORD
    assert decode_mark(encode_mark(MARK_RECORD)) == MARK_RECORD
    assert decode_key_use(encode_key_use(KEY_USE_RECORD)) == KEY_USE_RECORD
    assert decode_evaluation_task(encode_evaluation_task(TASK_RECORD)) == TASK_RECORD
    unnamed = msgspec.structs.replace(MARK_RECORD, units=None)
    assert decode_mark(encode_mark(unnamed)) == unnamed


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x01\x00", b"\x02\x01", b"\x01\x01\xff\xff\xff", encode_control(CONTROL_RECORD)[:-4], b"\x01\x01\x04\xff\xff"]
)
def test_rubbish_is_refused_with_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="control record"):
        decode_control(data)


@pytest.mark.parametrize("kind", AVRO_TYPES, ids=lambda kind: kind.name)
def test_released_versions_never_change(kind: AvroType) -> None:
    assert _stored(kind) == list(kind.versions), f"store a new version of {kind.name} in {HISTORY.name} and leave the old files as they are"


@pytest.mark.parametrize("kind", AVRO_TYPES, ids=lambda kind: kind.name)
def test_a_new_version_only_appends_fields_with_defaults(kind: AvroType) -> None:
    versions = _stored(kind)
    for older, newer in pairwise(versions):
        assert newer["fields"][: len(older["fields"])] == older["fields"]
        assert all("default" in field for field in newer["fields"][len(older["fields"]) :])


@pytest.mark.parametrize("kind", AVRO_TYPES, ids=lambda kind: kind.name)
def test_every_pair_of_versions_reads_the_other(kind: AvroType) -> None:
    sample = {**msgspec.structs.asdict(SAMPLES[kind.name]), "added": ""}
    versions = [*_stored(kind), _next_version(_stored(kind)[-1])]
    for writer in versions:
        body = BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(writer, named_schemas={}), _lists(sample))
        for reader in versions:
            known = min(len(writer["fields"]), len(reader["fields"]))
            read = fastavro.schemaless_reader(
                BytesIO(body.getvalue()), fastavro.parse_schema(writer, named_schemas={}), fastavro.parse_schema(reader, named_schemas={})
            )
            assert isinstance(read, dict)
            for field in reader["fields"][:known]:
                want = sample[field["name"]]
                assert read[field["name"]] == (list(want) if isinstance(want, tuple) else want)


def test_a_record_from_a_newer_program_is_read_as_far_as_known() -> None:
    newer = _next_version(_stored(AVRO_TYPES[2])[-1])
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(newer, named_schemas={}), _lists({**msgspec.structs.asdict(MARK_RECORD), "added": "later"}))
    version = len(AVRO_TYPES[2].versions) + 1
    assert decode_mark(bytes((AVRO_TYPES[2].id, version)) + body.getvalue()) == MARK_RECORD


def _lists(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _next_version(schema: dict[str, Any]) -> dict[str, Any]:
    newer = copy.deepcopy(schema)
    newer["fields"].append({"name": "added", "type": "string", "default": ""})
    return newer
