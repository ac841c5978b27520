"""The query parameter `attribute`."""

import pytest

from infra.runtime.errors import ValidationFailed
from query_api.domain.attribute_filter import parse_attribute
from query_api.readers.attribute_condition import AttributeIs, attribute_condition
from query_api.readers.conditions import Conditions


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a.b:gold", "a.b", "gold"), ("a:12", "a", 12), ("a:1.5", "a", 1.5), ("a:true", "a", True), ('a:"12"', "a", "12"), ('a:""', "a", ""),
        ("session.id:x:y:1", "session.id", "x:y:1"), ("a: 1", "a", 1), ("a:1 2", "a", "1 2"), ("a:nan", "a", "nan"), ("a:2026-01-01T00:00:00Z", "a", "2026-01-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_what_it_asks_for(text: str, path: str, value: object) -> None:
    found = parse_attribute(text)
    assert found == AttributeIs(path, value) and type(found.value) is type(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "a", ":x", "a:", "a:null", "a:[1]", 'a:{"b": 1}'])
def test_what_cannot_be_asked_for(text: str) -> None:
    with pytest.raises(ValidationFailed):
        parse_attribute(text)


def test_a_text_that_looks_like_json_is_told_how_to_be_quoted() -> None:
    with pytest.raises(ValidationFailed, match='a:"null"'):
        parse_attribute("a:null")


@pytest.mark.parametrize("value", ["it's {x:String} \\ '); DROP TABLE spans --", "", True, 7, 7.5, 2**70, -(2**63), 1e300])
def test_nothing_of_it_becomes_sql(value: str | bool | float) -> None:
    path = "metadata.it's {a} ').b"
    made = attribute_condition(Conditions(["1"]), "x", AttributeIs(path, value))
    assert "it's" not in made.where and "DROP" not in made.where
    assert all(f"{{{name}:" in made.where for name in made.params)
