"""GlobalIDs name what they were made from, and nothing else passes for one."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import global_id as ids


def test_they_read_as_clients_know_them() -> None:
    assert ids.global_id("Project", 2) == "UHJvamVjdDoy" and ids.global_id("User", 1) == "VXNlcjox"
    assert ids.parse("UHJvamVjdDoy") == ("Project", 2) and ids.number_of("UHJvamVjdDoy", "User") is None


@pytest.mark.parametrize(
    "text", ["default", "", "Project:1", "====", "ä", b64encode(b"Nothing:1").decode(), b64encode(b"Project:-1").decode(), b64encode(b"Project:").decode()]
)
def test_names_are_not_ids(text: str) -> None:
    assert ids.parse(text) is None


@given(st.text(max_size=80))
def test_a_text_comes_back_from_its_number(text: str) -> None:
    if text.isascii() or text.encode("utf-8", "ignore").decode() == text:
        number = ids.number_of(ids.global_id("ProjectSession", ids.text_number(text)), "ProjectSession")
        assert number is not None and ids.number_text(number) == text


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))
def test_spans_and_traces_come_back_from_their_numbers(trace: bytes, span: bytes) -> None:
    assert ids.span_ids(ids.span_number(trace.hex(), span.hex())) == (trace.hex(), span.hex())
    assert ids.trace_id(ids.trace_number(trace.hex())) == trace.hex()


def test_numbers_that_are_too_long_are_nobodys() -> None:
    assert ids.span_ids(16**48) is None and ids.trace_id(16**32) is None and ids.number_text(0) is None
