"""Reading OTLP requests: bad items are refused one by one, bad requests as a whole, and good bytes stay as they are."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from infra.runtime.errors import InvalidArgument, MillstreamError, TooLarge
from ingest.otlp_read import METRICS, RECORDS, SIGNALS, TRACES, Reading, Signal, parse, read
from schemas.otlp_wire import Window
from tests.unit.ingest.otlp_support import NOW_NS, traces

WINDOW = Window.around(NOW_NS // 1_000, past_s=3_600, future_s=60)
LIMIT = 5_000


def reading(signal: Signal, body: bytes, project: str = "") -> Reading:
    return read(signal, parse(signal, body, LIMIT), body, "acme", project, "fallback", WINDOW, LIMIT)


def test_good_bytes_stay_as_they_are() -> None:
    body = traces(3).SerializeToString()
    got = reading(TRACES, body)
    assert got.part is not None and got.part.body is body
    assert (got.part.rows, got.refused, got.part.services, got.part.projects) == (3, 0, ("shop",), ("fallback",))
    assert got.part.minutes == {"shop": frozenset((NOW_NS // 60_000_000_000,))}


def test_project_of_header_beats_resource_beats_default() -> None:
    request = traces()
    request.resource_spans[0].resource.attributes.add(key="openinference.project.name").value.string_value = "mine"
    body = request.SerializeToString()
    for header, expected in (("", "mine"), ("theirs", "theirs")):
        got = reading(TRACES, body, header)
        assert got.part is not None and got.part.projects == (expected,)


def test_one_bad_span_in_a_thousand() -> None:
    request = traces(1_000)
    request.resource_spans[0].scope_spans[0].spans[417].trace_id = bytes(15)
    got = reading(TRACES, request.SerializeToString())
    assert got.part is not None and (got.part.rows, got.refused) == (999, 1) and "trace id" in got.reason
    kept = TRACES.request.FromString(got.part.body)
    numbers = [span.attributes[0].value.int_value for span in kept.resource_spans[0].scope_spans[0].spans]  # type: ignore[attr-defined]
    assert numbers == [number for number in range(1, 1_001) if number != 418]


_WRONG_IDS = [
    (b"", b"12345678"),
    (bytes(16), b"12345678"),
    (b"1" * 16, b""),
    (b"1" * 16, bytes(8)),
    (b"1" * 16, b"1" * 7),
    (b"1" * 17, b"1" * 8),
]


@pytest.mark.parametrize(("trace", "span"), _WRONG_IDS)
def test_wrong_ids_are_refused(trace: bytes, span: bytes) -> None:
    request = traces()
    only = request.resource_spans[0].scope_spans[0].spans[0]
    only.trace_id, only.span_id = trace, span
    got = reading(TRACES, request.SerializeToString())
    assert got.part is None and got.refused == 1


def test_logs_on_the_traces_path_are_all_refused() -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for _ in range(3):
        records.add(time_unix_nano=NOW_NS).body.string_value = "hello"
    got = reading(TRACES, request.SerializeToString())
    assert got.part is None and got.refused == 3


def test_far_times_are_kept_and_counted_and_touch_nothing() -> None:
    request = traces(2)
    request.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano = 1
    got = reading(TRACES, request.SerializeToString())
    assert got.part is not None and (got.part.rows, got.quarantined) == (2, 1)
    assert got.part.min_ns == got.part.max_ns == NOW_NS
    lonely = reading(TRACES, traces(1, start_ns=(1 << 64) - 1 - 5).SerializeToString())
    assert lonely.part is not None and (lonely.part.rows, lonely.quarantined, lonely.part.minutes) == (1, 1, {})


def test_points_of_nameless_metrics_and_crooked_histograms_are_refused() -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add().gauge.data_points.add(as_int=1, time_unix_nano=NOW_NS)
    metrics.add(name="ok").sum.data_points.add(as_double=float("nan"), time_unix_nano=NOW_NS)
    histogram = metrics.add(name="h").histogram
    histogram.data_points.add(time_unix_nano=NOW_NS, bucket_counts=[1, 2], explicit_bounds=[1.0])
    histogram.data_points.add(time_unix_nano=NOW_NS, bucket_counts=[1, 2], explicit_bounds=[1.0, 2.0])
    got = reading(METRICS, request.SerializeToString())
    assert got.part is not None and (got.part.rows, got.refused) == (2, 2)


def test_log_records_without_time_count_as_received_now() -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(severity_number=9)
    got = reading(RECORDS, request.SerializeToString())
    assert got.part is not None and (got.part.rows, got.quarantined) == (1, 0) and got.part.min_ns // 1_000 == WINDOW.received_us


def test_empty_request_is_nothing_to_store() -> None:
    for signal in SIGNALS.values():
        assert reading(signal, b"") == Reading(None)


def test_too_many_items_and_bodies_that_would_grow() -> None:
    with pytest.raises(TooLarge):
        reading(TRACES, traces(LIMIT + 1).SerializeToString())
    size = 2_000_000
    inner = b"\x12" + _varint(size) + b"\x12\x00" * (size // 2)
    with pytest.raises(TooLarge):
        parse(TRACES, b"\x0a" + _varint(len(inner)) + inner, LIMIT)
    with pytest.raises(TooLarge):
        parse(METRICS, b"\x0a\x00" * size, LIMIT)


def _many(signal: Signal, good: int, bad: int) -> Any:
    request: Any = signal.request()
    if signal is TRACES:
        request = traces(good + bad)
        for span in request.resource_spans[0].scope_spans[0].spans[good:]:
            span.span_id = b""
        return request
    if signal is RECORDS:
        records = request.resource_logs.add().scope_logs.add().log_records
        for number in range(good + bad):
            records.add(time_unix_nano=NOW_NS, span_id=b"1" * 8 if number < good else b"1")
        return request
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    for name, count in (("named", good), ("", bad)):
        points = metrics.add(name=name).gauge.data_points
        for _ in range(count):
            points.add(time_unix_nano=NOW_NS, as_int=1)
    return request


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS)
def test_bad_items_count_toward_the_limit_and_nothing_is_examined_beyond_it(signal: Signal) -> None:
    def read_one(bad: int) -> Reading:
        request = _many(signal, 3, bad)
        return read(signal, request, None, "acme", "", "fallback", WINDOW, 10)

    got = read_one(7)
    assert got.part is not None and (got.part.rows, got.refused) == (3, 7)
    with pytest.raises(TooLarge, match="more than 10 items"):
        read_one(8)


def test_nesting_beyond_the_parser_is_refused() -> None:
    request = traces()
    value: Any = request.resource_spans[0].scope_spans[0].spans[0].attributes[0].value
    for _ in range(200):
        value.array_value.SetInParent()
        value = value.array_value.values.add()
    with pytest.raises(InvalidArgument):
        parse(TRACES, request.SerializeToString(), LIMIT)


_BODY = traces(5).SerializeToString()


@given(st.sampled_from(list(SIGNALS.values())), st.one_of(st.binary(max_size=300), st.integers(0, len(_BODY)).map(lambda end: _BODY[:end])))
@settings(max_examples=300, deadline=None)
def test_random_and_cut_off_bytes_never_fail_otherwise(signal: Signal, body: bytes) -> None:
    try:
        got = reading(signal, body)
    except MillstreamError as error:
        assert error.kind.http in (400, 413)
    else:
        assert got.part is None or got.part.rows > 0


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))
