"""Names of fields inside telemetry events, and what they find in JSON."""

import pytest

from schemas.telemetry_field import TelemetryField, field_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("measurements.ms", TelemetryField("measurements", ("ms",))),
        ("metadata.usage.tokens", TelemetryField("metadata", ("usage", "tokens"))),
        ("ms", TelemetryField("measurements", ("ms",))),
        ("usage.tokens", TelemetryField("measurements", ("usage", "tokens"))),
        ("measurements.metadata.x", TelemetryField("measurements", ("metadata", "x"))),
    ],
)
def test_a_name_says_where_the_field_is(text: str, found: TelemetryField) -> None:
    assert field_of(text, "measurements") == found


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "measurements", "measurements.", "metadata..x", "metadata." + ".".join("x" * 33)])
def test_what_names_no_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        field_of(text, "metadata")


@pytest.mark.parametrize("text", ["ms", "usage.tokens", "Measurements.ms"])
def test_a_holder_can_be_required(text: str) -> None:
    with pytest.raises(ValueError, match=r"measurements\."):
        field_of(text)


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ('{"a": {"b": 1.50}}', b"1.50"),
        ('{"a.b": "whole", "a": {"b": 1}}', b'"whole"'),
        ('{"a": {"b": 123456789012345678901234567890}}', b"123456789012345678901234567890"),
        ('{"a": {"b": null}}', b"null"),
        ('{"a": {"c": 1}}', b""),
        ('{"a": [1, 2]}', b""),
        ('{"a": "b"}', b""),
        ("", b""),
    ],
)
def test_what_is_found_is_as_it_was_sent(text: str, raw: bytes) -> None:
    assert field_of("measurements.a.b").raw_in(text) == raw
