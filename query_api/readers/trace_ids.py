"""Looking spans up by their trace ids.

The order of the table begins with tenant and time, so that ids rule out no granule of it, and the engine would compare all of them with every one.
As tuples the ids are looked for in the filters of trace ids alone, among what the tenant has.
"""

from typing import Final

OF_TRACES: Final = "tuple(trace_id) IN (SELECT tuple(arrayJoin({traces:Array(String)})))"
"""Spans of the traces in `traces`."""

TRACES_OF: Final = "tuple(trace_id) IN (SELECT tuple(trace_id) FROM spans WHERE {where})"
"""Spans of the traces that have a span `where`; to be formatted."""
