"""`json_schema` agrees with another implementation of JSON Schema, fetches nothing and never takes long."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.evaluators.json_schema import JsonSchema
from schemas.evaluators.verdict import CannotJudge
from tests.unit.schemas.evaluators.support import said

SCHEMAS: tuple[dict[str, Any], ...] = (
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0}}, "additionalProperties": False},
    {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1, "$defs": {"item": {"type": ["string", "null"]}}},
    {"anyOf": [{"const": 1}, {"enum": ["x", None]}], "not": {"type": "boolean"}},
    {"patternProperties": {"^[ab]$": {"type": "number"}}, "maxProperties": 2},
    {"if": {"type": "string"}, "then": {"maxLength": 2}, "else": {"type": ["object", "array"]}},
    {"uniqueItems": True, "contains": {"type": "integer"}, "type": "array"},
    {"type": "array", "items": {"$ref": "#"}},
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2, allow_nan=False) | st.sampled_from(["", "a", "x", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(SCHEMAS), VALUES)
def test_as_another_implementation_judges(schema: dict[str, Any], value: Any) -> None:
    verdict = JsonSchema(schema).verdict(said(json.dumps(value)))
    valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (verdict.label, verdict.score) == (("valid", 1.0) if valid else ("invalid", 0.0))


def test_the_place_of_what_is_wrong() -> None:
    schema = {"properties": {"items": {"items": {"required": ["sku"]}}}}
    assert JsonSchema(schema).verdict(said('{"items": [{"sku": 1}, {}]}')).explanation == '$.items[1]: "sku" is a required property'


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "```json\n{}\n```", "[" * 100_000])
def test_what_is_not_json(text: str) -> None:
    verdict = JsonSchema({}).verdict(said(text))
    assert (verdict.label, verdict.score) == ("not_json", 0.0)


def test_older_drafts() -> None:
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}
    assert JsonSchema(draft4).verdict(said("1")).label == "invalid"


def test_patterns_and_references_that_would_take_for_ever_elsewhere() -> None:
    assert JsonSchema({"pattern": "^(a+)+$"}).verdict(said(json.dumps("a" * 50_000 + "b"))).label == "invalid"
    for endless in ({"$ref": "#"}, {"not": {"$ref": "#"}}, {"allOf": [{"$ref": "#"}]}):
        assert JsonSchema(endless).verdict(said("[[1]]")).label in ("valid", "invalid")


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "objekt"}, "schema: not a JSON schema, at type"),
        ({"pattern": "("}, "schema: not a JSON schema"),
        ({"$ref": "https://example.com/s.json"}, "is elsewhere; put what it holds into"),
        ({"enum": ["x" * 70_000]}, "bytes as JSON; the limit is 65536"),
    ],
)
def test_schemas_that_cannot_be_used_are_refused(schema: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        JsonSchema(schema)


def test_a_text_too_long_is_a_failure() -> None:
    with pytest.raises(CannotJudge) as caught:
        JsonSchema({}).verdict(said(" " * 2_000_001))
    assert caught.value.reason == "too_long"
