"""Dead letters as the command reads, shows and names them."""

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.dead_letter import Letter, parse_place
from infra.cli.main import app

runner = CliRunner()
_HEADERS = (
    ("ms-batch", b"b1"),
    ("ms-touched", msgspec.msgpack.encode([["shop", "checkout", [1], None, False]])),
    ("ms-origin-topic", b"events"),
    ("ms-origin-partition", b"2"),
    ("ms-origin-offset", b"41"),
    ("ms-reason", b"\xffbroken"),
)


def test_places_as_people_write_them() -> None:
    assert parse_place("dead_letters:1:17") == (1, 17)
    assert parse_place("1:17") == (1, 17)
    assert parse_place("17") == (0, 17)
    for wrong in ("", "events:0:1", "a:b", "1:2:3", "-1"):
        with pytest.raises(ValueError, match="is not a place"):
            parse_place(wrong)


def test_a_letter_says_where_it_came_from() -> None:
    letter = Letter(0, 3, _HEADERS, b"body")
    about = letter.about()
    assert about["origin"] == "events:2:41" and about["bytes"] == 4
    assert about["reason"] == "\\xffbroken"
    assert about["headers"] == {"ms-batch": "b1", "ms-touched": "shop/checkout"}
    assert letter.origin == "events"


def test_a_letter_goes_back_only_to_a_topic_of_blocks() -> None:
    for topic in (b"control", b"nowhere"):
        with pytest.raises(ValueError, match="which topic"):
            _ = Letter(0, 3, (("ms-origin-topic", topic),), b"").origin


def test_list_prints_what_the_api_says(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [{"letter": "dead_letters:0:3", "at": "2026-01-01T00:00:00Z", "topic": "events", "partition": 2, "offset": 41, "rows": 5, "reason": "[odd]"}]
    asked: list[dict[str, object]] = []

    def get(url: str, **options: object) -> httpx.Response:
        asked.append(options)
        return httpx.Response(200, json={"data": found, "next_cursor": None})

    monkeypatch.setattr(httpx, "get", get)
    shown = runner.invoke(app, ["dlq", "list", "--key", "k", "--limit", "7"])
    assert shown.exit_code == 0 and "dead_letters:0:3" in shown.stdout and "events:2:41" in shown.stdout and "[odd]" in shown.stdout
    assert asked[0]["params"] == {"limit": 7} and asked[0]["headers"] == {"Authorization": "Bearer k"}


def test_wrong_places_end_with_what_is_wrong() -> None:
    for words in (["dlq", "show", "nope"], ["dlq", "replay", "nope"], ["dlq", "replay"]):
        assert runner.invoke(app, words).exit_code == 2
