"""JSON objects are stored byte by byte as they came."""

import msgspec
import pytest

from infra.runtime.errors import ValidationFailed
from ingest import json_objects
from ingest.json_objects import JsonObjects


def packed(*texts: bytes) -> JsonObjects:
    return JsonObjects.of([msgspec.Raw(text) for text in texts], "metadata")


def test_objects_are_kept_as_they_came() -> None:
    assert json_objects.column([packed(b'{"a": 1 }', b"", b"null"), packed(b"{}")]).to_pylist() == [b'{"a": 1 }', b"", b"", b"{}"]
    assert json_objects.column([packed(b"", b"")]).to_pylist() == [b"", b""]
    assert packed(b"{}", b'{"a":1}').longest == 7 and packed().longest == 0


@pytest.mark.parametrize("bad", [b"[1]", b'"text"', b"1", b"true"])
def test_anything_else_is_refused(bad: bytes) -> None:
    with pytest.raises(ValidationFailed):
        packed(b"{}", bad, b'{"a": 1}')
