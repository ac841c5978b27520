"""Parameters are written as ClickHouse reads them, and errors are sorted by what to do about them."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from infra.runtime.clickhouse import ClickHouseError, parameter


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\tb\\'", "a\\tb\\\\'"),
        (None, "\\N"),
        (True, "true"),
        (2**64 - 1, "18446744073709551615"),
        (0.1, "0.1"),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 3, 4, 5, 6), "2024-01-02 03:04:05.000006"),
        (datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2024-01-02 01:00:00.000000"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (["it's", None, "\n"], "['it\\'s',NULL,'\\n']"),
        ((1, "x", [2]), "(1,'x',[2])"),
        ({"k": 1}, "{'k':1}"),
        ([datetime(2024, 1, 2, tzinfo=UTC)], "['2024-01-02 00:00:00.000000']"),
        ([], "[]"),
    ],
)
def test_parameters(value: Any, text: str) -> None:
    assert parameter(value) == text


def test_objects_are_not_parameters() -> None:
    with pytest.raises(TypeError):
        parameter(object())


@pytest.mark.parametrize(
    ("code", "retryable", "poison", "limit"),
    [
        (0, True, False, False),
        (252, True, False, False),
        (241, True, False, True),
        (117, False, True, False),
        (33, False, True, False),
        (60, False, False, False),
        (62, False, False, False),
        (158, False, False, True),
    ],
)
def test_errors_say_what_to_do(code: int, retryable: bool, poison: bool, limit: bool) -> None:
    error = ClickHouseError(code, "words")
    assert (error.retryable, error.poison, error.limit) == (retryable, poison, limit)
