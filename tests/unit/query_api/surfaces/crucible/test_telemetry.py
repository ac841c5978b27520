"""Requests for telemetry that are refused before anything is read: by name, in the shape of the surface."""

from typing import Any

import pytest

from query_api.domain.cursor import encode_cursor
from tests.unit.query_api.surfaces.crucible.conftest import Ask

EVENTS, AGGREGATE, EXPORT = "/telemetry/events", "/telemetry/aggregate", "/telemetry/export"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{EVENTS}?filter[owner]=me", "filter[owner]"),
        (f"{EVENTS}?filter[after]=yesterday", "filter[after]"),
        (f"{EVENTS}?filter[run_id]=", "filter[run_id]"),
        (f"{EVENTS}?per_page=101", "per_page"),
        (f"{EVENTS}?agg=p99&agg_field=ms", "agg"),
        (f"{EVENTS}?agg=avg", "agg_field"),
        (f"{EVENTS}?agg=avg&agg_field=measurements.", "agg_field"),
        (f"{EVENTS}?agg=count&group_by=a..b", "group_by"),
        (f"{EVENTS}?agg=count&group_by=metadata", "group_by"),
        (f"{EVENTS}?agg_field=ms", "agg_field"),
        (f"{EVENTS}?group_by=event_name", "group_by"),
        (f"{EVENTS}?agg=count&page=2", "page"),
        (f"{EVENTS}?agg=count&per_page=5", "per_page"),
        (f"{AGGREGATE}?interval=1h", "metric"),
        (f"{AGGREGATE}?agg=p95", "metric"),
        (f"{AGGREGATE}?agg=median&metric=ms", "agg"),
        (f"{AGGREGATE}?agg=count&interval=2m", "interval"),
        (f"{AGGREGATE}?agg=count&filter[per_page]=2", "filter[per_page]"),
    ],
)
async def test_a_wrong_parameter_is_named(ask: Ask, path: str, field: str) -> None:
    answer = await ask("GET", path)
    error = answer.json()["error"]
    assert answer.status_code == 422 and error["code"] == "validation_error"
    assert list(error["details"]) == [field] and error["details"][field][0] and error["message"].startswith(field)


async def test_a_json_file_is_described_as_the_array_that_it_is(ask: Ask) -> None:
    document = (await ask("GET", "/openapi.json", None)).json()
    content = document["paths"]["/api/v1/telemetry/export"]["post"]["responses"]["200"]["content"]
    assert {name: each["schema"]["type"] for name, each in content.items()} == {
        "text/csv": "string",
        "application/json": "array",
        "application/x-ndjson": "string",
    }


async def test_the_longest_place_is_a_cursor_that_is_taken(ask: Ask) -> None:
    """An id and a name of 512 characters each, which JSON writes as twelve bytes at most."""
    answer = await ask("GET", f"{EVENTS}?cursor={encode_cursor((0, chr(1) * 512, chr(1) * 512))}")
    assert answer.status_code == 503, answer.text


async def test_a_cursor_of_another_list_is_refused(ask: Ask) -> None:
    beyond = encode_cursor((10**30, "id", "name"))
    for cursor in ("abc", "WyItY3JlYXRlZF9hdF91cyIsMSwxXQ", "WzFd", beyond, "%00"):
        answer = await ask("GET", f"{EVENTS}?cursor={cursor}")
        error = answer.json()["error"]
        assert answer.status_code == 422 and "cursor" in error["message"] and error["details"]["cursor"]


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"format": "parquet"}, "format", "'csv', 'json' or 'jsonl'"),
        ({"fields": ["timestamp", "duration"]}, "fields", "`duration`"),
        ({"fields": ["measurements.a", "metadata."]}, "fields", "`metadata.`"),
        ({"fields": ["id", "id"]}, "fields", "`id` is named twice"),
        ({"fields": []}, "fields", "at least 1"),
        ({"filters": {"owner": "me"}}, "filters.owner", "not permitted"),
        ({"filters": {"after": 5}}, "filters.after", "ISO 8601"),
        ({"surprise": 1}, "surprise", "not permitted"),
    ],
)
async def test_a_wrong_export_is_named(ask: Ask, body: dict[str, Any], field: str, says: str) -> None:
    answer = await ask("POST", EXPORT, body=body)
    error = answer.json()["error"]
    assert answer.status_code == 422 and error["code"] == "validation_error"
    assert list(error["details"]) == [field] and any(says in message for message in error["details"][field])


@pytest.mark.parametrize(("method", "path", "body"), [("GET", EVENTS, None), ("GET", f"{AGGREGATE}?agg=count", None), ("POST", EXPORT, {})])
async def test_reading_needs_a_permission_and_the_events(ask: Ask, method: str, path: str, body: Any) -> None:
    assert (await ask(method, path, None, body)).status_code == 401
    refused = await ask(method, path, "ingest", body)
    assert refused.status_code == 403 and "telemetry:read" in refused.json()["error"]["message"]
    away = await ask(method, path, "viewer", body)
    assert away.status_code == 503 and away.json()["error"]["code"] == "unavailable"


async def test_events_are_not_sent_here(ask: Ask) -> None:
    answer = await ask("POST", EVENTS, body={"events": []})
    assert answer.status_code == 404 and "ingest" in answer.json()["error"]["message"]
