"""Feedback in OTLP requests, stored as annotations beside the spans that carry it. What counts as feedback is said in `schemas.span_feedback`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ingest.annotation_rows import AnnotationRows
from ingest.otlp_read import RECORDS, TRACES, Reading, Signal
from schemas.span_feedback import Feedback, feedback_of_logs, feedback_of_spans, may_carry

_READERS: dict[str, Callable[[Any, int], Feedback]] = {TRACES.name: feedback_of_spans, RECORDS.name: feedback_of_logs}


def with_feedback(signal: Signal, request: Any, reading: Reading, tenant: str, now_us: int) -> Reading:
    """The reading with the feedback of its good items. A request without any costs one search of its bytes."""
    read = _READERS.get(signal.name)
    if read is None or reading.part is None or not may_carry(reading.part.body):
        return reading
    annotations, faults = read(request, now_us)
    if faults:
        reason = "; ".join([*filter(None, [reading.reason]), *dict.fromkeys(f"stored, but not as an annotation: {fault}" for fault in faults[:5])])
        reading = replace(reading, reason=reason)
    return replace(reading, annotations=AnnotationRows(tenant, annotations)) if annotations else reading
