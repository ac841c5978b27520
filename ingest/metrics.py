"""Ingest's Prometheus metrics."""

import functools

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

from infra.runtime.metric_names import REGISTRY, counter, gauge, histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST

REQUESTS = counter("millstream_ingest_requests_total")
REQUEST_SECONDS = histogram("millstream_ingest_request_seconds")
BYTES = counter("millstream_ingest_bytes_total")
IN_FLIGHT = gauge("millstream_ingest_in_flight_bytes")
ITEMS = counter("millstream_ingest_items_total")
RATE_LIMITED = counter("millstream_ingest_rate_limited_total")
REDIS_FAILURES = counter("millstream_ingest_redis_failures_total")
EXPOSURES_LOST = counter("millstream_ingest_exposures_lost_total")
FLAG_STREAMS = gauge("millstream_ingest_flag_streams")


@functools.cache
def requests(door: str, status: int) -> Counter:
    """The count of a door's answers with a status: looking a labelled metric up anew costs more than counting."""
    return REQUESTS.labels(door, str(status))


@functools.cache
def request_seconds(door: str) -> Histogram:
    """The times of a door's answers."""
    return REQUEST_SECONDS.labels(door)


@functools.cache
def bytes_of(door: str) -> Counter:
    """The count of a door's bytes."""
    return BYTES.labels(door)


def render() -> bytes:
    """The metrics in Prometheus text form."""
    return generate_latest(REGISTRY)
