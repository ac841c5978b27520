"""Blocks of OTLP requests into the real engine: every value exact, every item one row, and a block sent twice stored once."""

import base64
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infra.runtime.clock import SystemClock
from infra.runtime.settings import Settings
from ingest.otlp import assembler
from ingest.otlp_read import METRICS, RECORDS, TRACES, Signal, parse, read
from schemas.any_value import Value, decode, encode, message_of, resource_attributes
from schemas.blocks import Block
from schemas.otlp_repair import repair
from schemas.otlp_wire import Window
from schemas.tables.logs import LOGS
from schemas.tables.metric_points import METRIC_POINTS
from schemas.tables.spans import SPANS
from schemas.tables.table import Table
from tests.support import EmbeddedParts
from tests.unit.ingest.otlp_support import NOW_NS, traces

VALUES: list[Value] = [
    "", "text", "é\0", "x" * 127, "x" * 128, "x" * 20_000, 0, 1, -1, 300, (1 << 63) - 1, -(1 << 63), False, True, 0.0, 1.5, math.inf, b"", b"\x00\xff",
    [], [1, "", None, [b"x", {"a": 0}]], {}, {"a": {"b": [False]}}, None,
]  # fmt: skip


class Engine:
    """The engine's HTTP interface."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)

    def query(self, sql: str) -> list[list[Any]]:
        answer = self._client.post(
            "/", params={"user": "millstream", "default_format": "JSONCompact", "output_format_json_quote_64bit_integers": "0"}, content=sql
        )
        assert answer.status_code == 200, answer.text
        rows: list[list[Any]] = answer.json()["data"] if answer.text else []
        return rows

    def insert(self, table: Table, block: Block, plain: bytes | None = None) -> httpx.Response:
        """Insert the block, or `plain` in its place."""
        assert table.feed is not None
        params = {"user": "millstream", "query": table.feed.insert(table.name), "async_insert": "0", "insert_deduplicate": "1"}
        params["insert_deduplication_token"] = block.batch_id
        params |= table.feed.settings
        if plain is not None:
            return self._client.post("/", params=params, content=plain)
        return self._client.post("/", params=params, content=block.body, headers={"Content-Encoding": block.encoding})


@pytest.fixture(scope="module")
def parts() -> Iterator[Engine]:
    with EmbeddedParts(kafka=False) as running:
        yield Engine(running.settings.clickhouse.url)


@pytest.fixture
def engine(parts: Engine) -> Engine:
    for table in (SPANS, METRIC_POINTS, LOGS):
        parts.query(f"DROP TABLE IF EXISTS {table.name} SYNC")
        for statement in table.create(1_000, 90):
            parts.query(statement)
    return parts


def block(signal: Signal, *requests: Any, batch_id: str = "batch", project: str = "") -> Block:
    settings = Settings()
    clock = SystemClock()
    window = Window.around(clock.now_us(), settings.ingest.max_past_s, settings.ingest.max_future_s)
    made = []
    for number, request in enumerate(requests):
        body = request if isinstance(request, bytes) else request.SerializeToString()
        part = read(signal, parse(signal, body, 100_000), body, f"tenant{number}", project, "default", window, 100_000).part
        assert part is not None
        made.append(part)
    return assembler(signal, settings, clock)(made, batch_id)


def test_every_value_comes_back_as_it_was(engine: Engine) -> None:
    request = traces()
    span = request.resource_spans[0].scope_spans[0].spans[0]
    del span.attributes[:]
    for number, value in enumerate(VALUES):
        span.attributes.add(key=f"k{number}").value.CopyFrom(message_of(value))
    span.events.add(name="e", time_unix_nano=7).attributes.add(key="k").value.bytes_value = b"\xff"
    span.links.add(trace_id=b"2" * 16, span_id=b"3" * 8, trace_state="a=b")
    assert engine.insert(SPANS, block(TRACES, request)).status_code == 200
    ((attributes, events, links, resource),) = engine.query(
        "SELECT mapApply((k, v) -> (k, base64Encode(v)), attributes), arrayMap(e -> hex(e), events), arrayMap(l -> hex(l), links), hex(resource) "
        "FROM spans FINAL"
    )
    raw = {key: base64.b64decode(value) for key, value in attributes.items()}
    for number, value in enumerate(VALUES):
        got = decode(raw[f"k{number}"])
        assert got == value and type(got) is type(value) and raw[f"k{number}"] == encode(value)
    assert Span.Event.FromString(bytes.fromhex(events[0])) == span.events[0] and Span.Link.FromString(bytes.fromhex(links[0])) == span.links[0]
    assert resource_attributes(bytes.fromhex(resource)) == (("service.name", "shop"),)


def test_span_columns(engine: Engine) -> None:
    request = traces(3)
    first: Any
    second: Any
    first, second, _ = request.resource_spans[0].scope_spans[0].spans
    first.parent_span_id, first.kind, first.status.code, first.status.message = b"\xab" * 8, 3, 2, "broken"
    values: dict[str, Value] = {
        "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "gen_ai.request.model": "other", "llm.provider": "openai", "session.id": "s1",
        "user.id": 42, "llm.token_count.prompt": 1_000_000, "llm.token_count.completion": 7.0, "llm.token_count.prompt_details.cache_read": 3,
    }  # fmt: skip
    for key, value in values.items():
        first.attributes.add(key=key).value.CopyFrom(message_of(value))
    others: dict[str, Value] = {
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "asked",
        "gen_ai.response.model": "opus",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.conversation.id": "c",
    }
    for key, value in others.items():
        second.attributes.add(key=key).value.CopyFrom(message_of(value))
    second.start_time_unix_nano = 5
    assert engine.insert(SPANS, block(TRACES, request, project="p")).status_code == 200
    rows = engine.query(
        "SELECT tenant, project, service, trace_id, parent_id, kind, status_code, status_message, toUnixTimestamp64Nano(start_time), quarantined, span_kind, "
        "session_id, user_id, llm_provider, llm_model, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens FROM spans FINAL ORDER BY trace_id"
    )
    common = ["tenant0", "p", "shop"]
    assert rows[0] == [*common, f"{1:032x}", "ab" * 8, 3, 2, "broken", NOW_NS, 0, "LLM", "s1", "42", "openai", "gpt-4o", 1_000_000, 7, 3, 0]
    assert rows[1] == [*common, f"{2:032x}", "", 0, 0, "", 5, 1, "", "c", "", "anthropic", "opus", 5, 0, 0, 0]
    assert rows[2] == [*common, f"{3:032x}", "", 0, 0, "", NOW_NS, 0, "", "", "", "", "", 0, 0, 0, 0]


def test_blocks_of_many_requests_and_sent_twice(engine: Engine) -> None:
    empty = TRACES.request()
    empty.resource_spans.add()  # type: ignore[attr-defined]
    mixed = traces(5, service="a")
    mixed.MergeFrom(traces(4, service="b"))
    for other in mixed.resource_spans[1].scope_spans[0].spans:
        other.trace_id = b"9" * 16
    mixed.resource_spans.insert(1, empty.resource_spans[0])  # type: ignore[attr-defined]
    made = block(TRACES, mixed, traces(1_000))
    for _ in range(2):
        assert engine.insert(SPANS, made).status_code == 200
    assert engine.query("SELECT tenant, service, count() FROM spans GROUP BY ALL ORDER BY ALL") == [
        ["tenant0", "a", 5],
        ["tenant0", "b", 4],
        ["tenant1", "shop", 1_000],
    ]
    assert engine.insert(SPANS, block(TRACES, mixed, batch_id="again")).status_code == 200
    assert engine.query("SELECT count(), (SELECT count() FROM spans FINAL) FROM spans") == [[1_018, 1_009]]


def test_points_of_every_kind(engine: Engine) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    gauge = metrics.add(name="g", unit="ms", description="d").gauge.data_points
    for value in (0, (1 << 63) - 1):
        gauge.add(as_int=value, time_unix_nano=NOW_NS).attributes.add(key="n").value.int_value = value
    gauge.add(as_double=math.nan, time_unix_nano=NOW_NS)
    metric: Any = metrics.add(name="s")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    for keys in ("ab", "ba"):
        point = metric.sum.data_points.add(as_double=2.5, time_unix_nano=NOW_NS + ord(keys[0]), start_time_unix_nano=9)
        for key in keys:
            point.attributes.add(key=key).value.string_value = key
    histogram: Any = metrics.add(name="h").histogram
    histogram.aggregation_temporality = 1
    histogram.data_points.add(time_unix_nano=NOW_NS, count=3, sum=4.5, bucket_counts=[1, 2], explicit_bounds=[1.0], min=0.5, max=2.0)
    exponential = metrics.add(name="e").exponential_histogram.data_points.add(time_unix_nano=NOW_NS, count=2, scale=-3, zero_count=1, zero_threshold=0.25)
    exponential.positive.bucket_counts.append(1)
    metrics.add(name="q").summary.data_points.add(time_unix_nano=NOW_NS, count=2, sum=3.0).quantile_values.add(quantile=0.5, value=1.5)
    made = block(METRICS, request)
    assert made.rows == 8 and engine.insert(METRIC_POINTS, made).status_code == 200
    rows = engine.query(
        "SELECT metric, kind, toString(value), value_int, count, sum, min, max, bounds, buckets, scale, zero_count, zero_threshold, hex(positive), quantiles, "
        "temporality, monotonic FROM metric_points FINAL ORDER BY metric, time, value_int NULLS LAST"
    )
    plain: list[Any] = [0, None, None, None, [], [], 0, 0, 0, "", []]
    assert rows == [
        ["e", "exponential_histogram", "0", None, 2, None, None, None, [], [], -3, 1, 0.25, exponential.positive.SerializeToString().hex().upper(), [], 0, 0],
        ["g", "gauge", "0", 0, *plain, 0, 0],
        ["g", "gauge", "9223372036854776000", (1 << 63) - 1, *plain, 0, 0],
        ["g", "gauge", "nan", None, *plain, 0, 0],
        ["h", "histogram", "4.5", None, 3, 4.5, 0.5, 2.0, [1.0], [1, 2], 0, 0, 0, "", [], 1, 0],
        ["q", "summary", "3", None, 2, 3.0, None, None, [], [], 0, 0, 0, "", [{"quantile": 0.5, "value": 1.5}], 0, 0],
        ["s", "sum", "2.5", None, *plain, 2, 1],
        ["s", "sum", "2.5", None, *plain, 2, 1],
    ]
    assert engine.query("SELECT metric, uniqExact(series) FROM metric_points WHERE metric IN ('g', 's') GROUP BY metric ORDER BY metric") == [
        ["g", 3],
        ["s", 1],
    ]


def test_equal_log_records_stay_apart_and_the_same_request_is_one(engine: Engine) -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for _ in range(3):
        records.add(time_unix_nano=NOW_NS, severity_number=9, trace_id=b"1" * 16).body.string_value = "same"
    records.add(observed_time_unix_nano=NOW_NS + 1, event_name="e").body.kvlist_value.values.add(key="a").value.int_value = 1
    records.add()
    for batch_id in ("one", "two"):
        assert engine.insert(LOGS, block(RECORDS, request, batch_id=batch_id)).status_code == 200
    # The last record has no time of its own, so it gets the time of receipt and is another one each time.
    assert engine.query("SELECT text, event_name, count() FROM logs FINAL GROUP BY ALL ORDER BY ALL") == [["", "", 2], ["", "e", 1], ["same", "", 3]]


def test_a_known_field_of_another_wire_type_is_repaired(engine: Engine) -> None:
    good = traces()
    span = good.resource_spans[0].scope_spans[0].spans[0].SerializeToString() + b"\x38\x05"  # start time as a varint beside the right one
    scope = b"\x12" + bytes((len(span),)) + span
    group = b"\x12" + bytes((len(scope),)) + scope
    made = block(TRACES, b"\x0a" + bytes((len(group),)) + group, traces(2))
    assert engine.insert(SPANS, made).headers["X-ClickHouse-Exception-Code"] == "444"
    fixed = repair(made)
    assert fixed == repair(made) and engine.insert(SPANS, made, fixed).status_code == 200
    assert engine.query("SELECT count(), min(toUnixTimestamp64Nano(start_time)) FROM spans") == [[3, NOW_NS]]
