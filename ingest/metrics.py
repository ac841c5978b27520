"""Ingest's Prometheus metrics."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

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


def render() -> bytes:
    """The metrics in Prometheus text form."""
    return generate_latest(REGISTRY)
