"""Telemetry events as the crucible surface shows them."""

from typing import Any

import orjson

from query_api.domain.instants import instant
from query_api.readers.telemetry import TelemetryEvent


def event_json(event: TelemetryEvent) -> dict[str, Any]:
    """As the surface lists an event: what the client sent as it was sent; fields that the surface does not know are in `extra`, where there are any."""
    shown = {
        "id": event.event_id,
        "event_name": event.event_name.split("."),
        "measurements": orjson.Fragment(event.measurements or "{}"),
        "metadata": orjson.Fragment(event.metadata or "{}"),
        "timestamp": instant(event.time_us),
    }
    return {**shown, "extra": orjson.Fragment(event.extra)} if event.extra else shown
