"""Every metric the platform exposes: a closed list with kind, unit and meaning; `infra/docs/metrics.md` is generated from it."""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
"""The registry of this process; only declared metrics are in it."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True)
class MetricName:
    """One metric as Prometheus sees it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    service: Literal["ingest", "streams", "query"]
    meaning: str
    labels: tuple[str, ...] = ()


METRICS = {
    metric.name: metric
    for metric in (
        MetricName("millstream_ingest_requests_total", "counter", "ingest", "Requests answered, by door and status.", ("door", "status")),
        MetricName("millstream_ingest_request_seconds", "histogram", "ingest", "Time from the first byte to the answer, by door.", ("door",)),
        MetricName("millstream_ingest_bytes_total", "counter", "ingest", "Body bytes after decompression, by door.", ("door",)),
        MetricName("millstream_ingest_in_flight_bytes", "gauge", "ingest", "Bytes of requests being worked on."),
        MetricName("millstream_ingest_items_total", "counter", "ingest", "Events, spans, points and records, by topic and outcome.", ("topic", "outcome")),
        MetricName(
            "millstream_ingest_rate_limited_total", "counter", "ingest", "Requests refused because a key had used up its rate, by surface.", ("surface",)
        ),
        MetricName(
            "millstream_ingest_redis_failures_total",
            "counter",
            "ingest",
            "Questions that Redis did not answer, so that the request went on without, by purpose.",
            ("purpose",),
        ),
        MetricName("millstream_ingest_exposures_lost_total", "counter", "ingest", "Evaluations answered although their exposure could not be stored."),
        MetricName("millstream_ingest_flag_streams", "gauge", "ingest", "Open streams of flag changes."),
        MetricName("millstream_streams_blocks_total", "counter", "streams", "Blocks that left a raw topic, by topic and outcome.", ("topic", "outcome")),
        MetricName("millstream_streams_rows_total", "counter", "streams", "Rows acknowledged by ClickHouse, by topic.", ("topic",)),
        MetricName("millstream_streams_insert_seconds", "histogram", "streams", "Time of one INSERT, by topic.", ("topic",)),
        MetricName(
            "millstream_streams_lost_blocks_total",
            "counter",
            "streams",
            "Blocks that Kafka dropped by age or size before they were stored, by topic.",
            ("topic",),
        ),
        MetricName(
            "millstream_streams_went_back_total",
            "counter",
            "streams",
            "Times that blocks were read again because the ledger did not know them although their offsets were committed, by topic.",
            ("topic",),
        ),
        MetricName("millstream_streams_insert_retries_total", "counter", "streams", "INSERTs that had to be repeated, by topic.", ("topic",)),
        MetricName(
            "millstream_streams_freshness_seconds", "histogram", "streams", "Time from the close of a block in ingest to its storage, by topic.", ("topic",)
        ),
        MetricName(
            "millstream_streams_refreshes_total",
            "counter",
            "streams",
            "Refreshes of windows, by what is refreshed: experiments, cardinality or cost.",
            ("windows",),
        ),
        MetricName("millstream_streams_refresh_seconds", "histogram", "streams", "Time of one refresh, by what is refreshed.", ("windows",)),
        MetricName("millstream_streams_evaluations_total", "counter", "streams", "Spans judged by rules, by annotator kind and outcome.", ("kind", "outcome")),
        MetricName("millstream_streams_judge_calls_total", "counter", "streams", "Calls of models that judge, by how they ended.", ("outcome",)),
        MetricName("millstream_query_requests_total", "counter", "query", "Requests answered, by surface and status.", ("surface", "status")),
        MetricName("millstream_query_request_seconds", "histogram", "query", "Time to answer, by surface.", ("surface",)),
        MetricName("millstream_live_clients", "gauge", "query", "Open live connections."),
        MetricName("millstream_live_coalesced_total", "counter", "query", "Updates replaced by a newer state because a client was slow."),
    )
}


def counter(name: str) -> Counter:
    """The declared counter. Raises KeyError when it is not declared."""
    return Counter(name, METRICS[name].meaning, METRICS[name].labels, registry=REGISTRY)


def gauge(name: str) -> Gauge:
    """The declared gauge. Raises KeyError when it is not declared."""
    return Gauge(name, METRICS[name].meaning, METRICS[name].labels, registry=REGISTRY)


def histogram(name: str) -> Histogram:
    """The declared histogram of seconds. Raises KeyError when it is not declared."""
    return Histogram(name, METRICS[name].meaning, METRICS[name].labels, registry=REGISTRY, buckets=_BUCKETS)
