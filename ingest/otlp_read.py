"""Reading one OTLP request: parse once, refuse bad items one by one, and know what the rest touches.

The bytes are kept as they are: only a request with refused items is serialised again, without them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from infra.runtime.errors import InvalidArgument, TooLarge
from ingest.annotation_rows import AnnotationRows
from ingest.events import EventRows
from ingest.otlp_size import check_counts
from schemas.any_value import typed
from schemas.otlp_sql import PROJECT_ATTRIBUTE, SERVICE_ATTRIBUTE
from schemas.otlp_wire import Window
from schemas.topics import LOGS, METRIC_POINTS, SPANS, Topic

if api_implementation.Type() != "upb":
    raise ImportError("protobuf runs without upb: its pure-Python parser is slow and has no limit on nesting")

MINUTE_NS = 60_000_000_000
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_BAD_TRACE, _BAD_SPAN = "trace id is not 16 bytes, not all zero", "span id is not 8 bytes, not all zero"

Times = list[int]
Bad = Counter[str]


@dataclass(frozen=True)
class Signal:
    """One of the three kinds of OTLP data."""

    name: str
    """Name of the door: traces, metrics or logs."""
    topic: Topic
    schema_id: str
    request: type[Message]
    response: type[Message]
    rejected: str
    """Field of the response's partial success that counts refused items."""
    group: str
    """Suffix of the request's nested fields: resource_<group>, scope_<group>."""
    count: Callable[[Any], int]
    """How many items a scope has, good and bad ones."""
    examine: Callable[[Any, Bad], tuple[Times, bool]]
    """Event times of the good items of one scope, and whether bad ones were taken out of it."""


@dataclass(frozen=True)
class OtlpPart:
    """The good items of one request."""

    tenant: str
    services: tuple[str, ...]
    """Service of each resource, in order."""
    projects: tuple[str, ...]
    body: bytes
    rows: int
    minutes: dict[str, frozenset[int]]
    """Event-time minutes by service, without those of quarantined items."""
    min_ns: int
    max_ns: int
    """Range of the event times; both 0 when every item is quarantined."""

    @property
    def size(self) -> int:
        return len(self.body)


@dataclass(frozen=True)
class Reading:
    """What came of a request."""

    part: OtlpPart | None
    """None when nothing is left to store."""
    refused: int = 0
    quarantined: int = 0
    reason: str = ""
    """Why items were refused, or stored without their full effect, for the client's developer."""
    exposures: EventRows | None = None
    """Flag evaluations among the items; see `ingest.flag_exposures`."""
    annotations: AnnotationRows | None = None
    """Feedback among the items; see `ingest.span_feedback`."""


def _spans(scope: Any, bad: Bad) -> tuple[Times, bool]:
    spans = scope.spans
    # One pass over the good case; the slow search for what is wrong only happens when something is.
    times = [
        span.start_time_unix_nano
        for span in spans
        if len(trace := span.trace_id) == 16 and len(own := span.span_id) == 8 and trace != _NO_TRACE and own != _NO_SPAN
    ]
    if len(times) == len(spans):
        return times, False
    good = []
    for span in spans:
        if len(span.trace_id) != 16 or span.trace_id == _NO_TRACE:
            bad[_BAD_TRACE] += 1
        elif len(span.span_id) != 8 or span.span_id == _NO_SPAN:
            bad[_BAD_SPAN] += 1
        else:
            good.append(span)
    _replace(spans, good)
    return times, True


def _points(scope: Any, bad: Bad) -> tuple[Times, bool]:
    times: Times = []
    changed = False
    for metric in scope.metrics:
        kind = metric.WhichOneof("data")
        if kind is None:
            continue
        points = getattr(metric, kind).data_points
        if not metric.name:
            bad["metric has no name"] += len(points)
            changed = changed or bool(points)
            del points[:]
        elif kind == "histogram":
            good = [point for point in points if len(point.bucket_counts) in (0, len(point.explicit_bounds) + 1)]
            if len(good) != len(points):
                bad["histogram has not one bucket more than bounds"] += len(points) - len(good)
                changed = True
                times += [point.time_unix_nano for point in good]
                _replace(points, good)
                continue
        times += [point.time_unix_nano for point in points]
    return times, changed


def _records(scope: Any, bad: Bad) -> tuple[Times, bool]:
    records = scope.log_records
    times = [
        record.time_unix_nano or record.observed_time_unix_nano or -1 for record in records if len(record.trace_id) in (0, 16) and len(record.span_id) in (0, 8)
    ]
    if len(times) == len(records):
        return times, False
    good = [record for record in records if len(record.trace_id) in (0, 16) and len(record.span_id) in (0, 8)]
    bad["trace id or span id of a log record has the wrong length"] += len(records) - len(good)
    _replace(records, good)
    return times, True


def _replace(items: Any, good: list[Any]) -> None:
    del items[:]
    items.extend(good)


def _count_points(scope: Any) -> int:
    kinds = ((metric, metric.WhichOneof("data")) for metric in scope.metrics)
    return sum(len(getattr(metric, kind).data_points) for metric, kind in kinds if kind is not None)


TRACES = Signal(
    "traces",
    SPANS,
    "spans/1",
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    rejected="rejected_spans",
    group="spans",
    count=lambda scope: len(scope.spans),
    examine=_spans,
)
METRICS = Signal(
    "metrics",
    METRIC_POINTS,
    "metric_points/1",
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    rejected="rejected_data_points",
    group="metrics",
    count=_count_points,
    examine=_points,
)
RECORDS = Signal(
    "logs",
    LOGS,
    "logs/1",
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    rejected="rejected_log_records",
    group="logs",
    count=lambda scope: len(scope.log_records),
    examine=_records,
)
SIGNALS = {signal.name: signal for signal in (TRACES, METRICS, RECORDS)}


def parse(signal: Signal, body: bytes, max_items: int) -> Any:
    """The request of protobuf bytes. Raises InvalidArgument when they are none or nested too deep, TooLarge beyond `max_items`."""
    check_counts(body, signal.name == "metrics", max_items)
    try:
        return signal.request.FromString(body)
    except DecodeError as error:
        raise InvalidArgument(f"The body is not a valid protobuf {signal.request.DESCRIPTOR.name}, or it is nested too deep.") from error


def read(signal: Signal, request: Any, body: bytes | None, tenant: str, header_project: str, default_project: str, window: Window, max_items: int) -> Reading:
    """Check a parsed request. `body` is what it was parsed from, or None when it has to be serialised. Takes bad items out of `request`.

    Raises TooLarge when the request has more than `max_items` items, good and bad ones together; nothing is examined then.
    """
    groups = getattr(request, f"resource_{signal.group}")
    if sum(signal.count(scope) for group in groups for scope in getattr(group, f"scope_{signal.group}")) > max_items:
        raise TooLarge(f"The request has more than {max_items} items. Send smaller batches.")
    bad: Bad = Counter()
    services: list[str] = []
    projects: list[str] = []
    by_service: dict[str, Times] = {}
    total = 0
    changed = body is None
    for group in groups:
        service, project = _named(group.resource)
        services.append(service)
        projects.append(header_project or project or default_project)
        for scope in getattr(group, f"scope_{signal.group}"):
            times, taken_out = signal.examine(scope, bad)
            changed = changed or taken_out
            total += len(times)
            if times:
                known = by_service.get(service)
                by_service[service] = times if known is None else known + times
    refused = sum(bad.values())
    reason = "; ".join(f"{count} refused: {why}" for why, count in bad.most_common(5))
    if not total:
        return Reading(None, refused, 0, reason)
    minutes, low, high, quarantined = _when(by_service, window)
    raw = request.SerializeToString() if changed or body is None else body
    part = OtlpPart(tenant, tuple(services), tuple(projects), raw, total, minutes, low, high)
    return Reading(part, refused, quarantined, reason)


def _named(resource: Resource) -> tuple[str, str]:
    service = project = ""
    for attribute in resource.attributes:
        key = attribute.key
        if key == SERVICE_ATTRIBUTE and not service:
            service = _name(attribute.value)
        elif key == PROJECT_ATTRIBUTE and not project:
            project = _name(attribute.value)
    return service, project


def _name(value: Any) -> str:
    return value.string_value or ("" if value.WhichOneof("value") in (None, "string_value") else str(typed(value)))


def _when(by_service: dict[str, Times], window: Window) -> tuple[dict[str, frozenset[int]], int, int, int]:
    """Minutes by service, the range of times, and how many items are quarantined."""
    minutes: dict[str, frozenset[int]] = {}
    lows, highs = [], []
    quarantined = 0
    for service, times in by_service.items():
        low, high = min(times), max(times)
        if low < window.earliest_ns or high > window.latest_ns:
            # -1 stands for a log record without any time: the engine gives it the time of receipt.
            known = [window.received_us * 1_000 if time < 0 else time for time in times]
            times = [time for time in known if window.earliest_ns <= time <= window.latest_ns]
            quarantined += len(known) - len(times)
            if not times:
                continue
            low, high = min(times), max(times)
        minutes[service] = _minutes(times, low, high)
        lows.append(low)
        highs.append(high)
    return minutes, min(lows, default=0), max(highs, default=0), quarantined


def _minutes(times: Iterable[int], low: int, high: int) -> frozenset[int]:
    first, last = low // MINUTE_NS, high // MINUTE_NS
    if last - first < 3:  # naming a minute too much is cheaper than dividing every time
        return frozenset(range(first, last + 1))
    return frozenset(time // MINUTE_NS for time in times)
