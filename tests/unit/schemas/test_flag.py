"""A flag checks itself, and its id follows from its key."""

from typing import Any

import msgspec
import pytest

from schemas.flag import Flag, flag_id, json_type

PLAIN: dict[str, Any] = {
    "tenant": "default",
    "id": "flag_1",
    "key": "dark_mode",
    "variations": [{"id": "var_1", "key": "on", "value": 1}, {"id": "var_2", "key": "off", "value": 0.5}],
}

_ONE_OF_EACH: list[Any] = [True, 1, 1.5, "a", [], {}, None]


def test_whole_and_broken_numbers_are_of_one_type() -> None:
    flag = msgspec.convert(PLAIN, Flag)
    assert [type(variation.value) for variation in flag.variations] == [int, float]
    assert [json_type(value) for value in _ONE_OF_EACH] == ["boolean", "number", "number", "string", "array", "object", "null"]


def test_a_value_stays_the_number_it_was() -> None:
    text = msgspec.json.encode(msgspec.convert(PLAIN | {"variations": [{"id": "a", "key": "a", "value": 10.0}, {"id": "b", "key": "b", "value": 10}]}, Flag))
    assert b'"value":10.0' in text and b'"value":10}' in text


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"key": "a b"}, "key"),
        ({"key": "a\n"}, "key"),
        ({"variations": PLAIN["variations"][:1]}, "at least two"),
        ({"variations": [{"id": "a", "key": "on", "value": True}, {"id": "b", "key": "off", "value": 0}]}, "boolean .* and number"),
        ({"rules": [{"id": "r", "rule": {"operator": "in", "attribute": "a", "value": 1}}]}, r"rules\[0\].value: must be a list"),
        ({"rules": [{"id": "r", "rule": {}}, {"id": "r", "rule": {}}]}, "same id"),
        ({"rules": [{"id": "r", "rule": {}, "variation": "blue"}]}, "'blue' is not a variation"),
        ({"default_rule": {"rollout_percentage": 101}}, "<= 100"),
    ],
)
def test_a_wrong_flag_says_what_is_wrong(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(PLAIN | fields, Flag)


def test_ids_follow_from_keys() -> None:
    assert flag_id("dark_mode") == flag_id("dark_mode") == "flag_23c2dd280a4966c7"
    assert len({flag_id(key) for key in ("dark_mode", "Dark_mode", "dark-mode")}) == 3
