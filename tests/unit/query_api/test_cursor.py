"""Cursors go round, and nothing else is taken for one."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.errors import ValidationFailed
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.readers.spans import Key


@given(st.integers(0, 2**63 - 1), st.text(), st.text())
def test_a_place_comes_back(start: int, trace: str, span: str) -> None:
    text = encode_cursor(Key(start, trace, span))
    assert decode_cursor(text, Key) == Key(start, trace, span)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.binary())
def test_anything_else_is_refused(data: bytes) -> None:
    text = urlsafe_b64encode(data).decode()
    try:
        place = decode_cursor(text, Key)
    except ValidationFailed:
        return
    assert isinstance(place, Key)


@pytest.mark.parametrize("text", ["é", "a", "WyIxIiwiYSIsImIiXQ", "Wy0xLCJhIiwiYiJd", "WzkyMjMzNzIwMzY4NTQ3NzU4MDgsImEiLCJiIl0"])
def test_wrong_places_are_refused(text: str) -> None:
    with pytest.raises(ValidationFailed):
        decode_cursor(text, Key)
