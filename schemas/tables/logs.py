"""Log records as they came, flattened by the engine from the clients' own bytes."""

from schemas.any_value import sql_text
from schemas.otlp_sql import ORIGIN, SCOPE, nanoseconds, tail, unfold
from schemas.otlp_wire import KEY_VALUES, proto, settings, structure
from schemas.tables.table import Column, Feed, Table

_MESSAGES = """
message LogRecord { fixed64 time_unix_nano = 1; int32 severity_number = 2; string severity_text = 3; bytes body = 5; repeated KeyValue attributes = 6;
  uint32 dropped_attributes_count = 7; fixed32 flags = 8; bytes trace_id = 9; bytes span_id = 10; fixed64 observed_time_unix_nano = 11; string event_name = 12; }
message ScopeLogs { Scope scope = 1; repeated LogRecord log_records = 2; string schema_url = 3; }
"""

_RECORD = (
    f"time_unix_nano UInt64, severity_number Int32, severity_text String, body String, attributes {KEY_VALUES}, dropped_attributes_count UInt32, flags UInt32, "
    "trace_id String, span_id String, observed_time_unix_nano UInt64, event_name String"
)

_NAME = "LowCardinality(String)"
_ATTRIBUTES = "Map(LowCardinality(String), String)"
_TIME = "DateTime64(9, 'UTC')"

# name, type, expression over the SELECT below, meaning
_COLUMNS = (
    ("tenant", _NAME, "tenant", "Tenant of the API key."),
    ("project", _NAME, "project", "Header `x-project-name`, else the resource's `openinference.project.name`, else the default project."),
    ("service", _NAME, "service", "The resource's `service.name`."),
    ("time", _TIME, nanoseconds("at"), "Event time, else when it was observed, else the time of receipt."),
    ("observed_time", _TIME, nanoseconds("record.observed_time_unix_nano"), "When the collection system saw it; 1970 when the client does not say."),
    (
        "record_id",
        "UInt64",
        "cityHash64(resource, scope_name, hash, same)",
        "Identity: hash of resource, scope and everything in the record, and which of equal records of its scope in one request it is.",
    ),
    ("severity_number", "Int32", "record.severity_number", "OTLP severity, 1 (trace) to 24 (fatal), 0 unset."),
    ("severity_text", _NAME, "record.severity_text", "Severity as the source calls it."),
    ("event_name", _NAME, "record.event_name", "Name of the event, when the record is one."),
    ("body", "String", "record.body", "Body, a serialised AnyValue."),
    ("text", "String", sql_text("record.body"), "Body as text when it is a string or a small number."),
    ("trace_id", "String", "lower(hex(record.trace_id))", "Trace it belongs to, lower-case hex, or empty."),
    ("span_id", "String", "lower(hex(record.span_id))", "Span it belongs to, lower-case hex, or empty."),
    ("attributes", _ATTRIBUTES, "record.attributes", "Attributes; a value is its serialised AnyValue, see `schemas/any_value.py`."),
    ("flags", "UInt32", "record.flags", "W3C trace flags."),
    ("dropped_attributes", "UInt32", "record.dropped_attributes_count", "Attributes the client left out."),
    ("resource", _NAME, "resource", "The resource, a serialised Resource."),
    ("resource_schema_url", _NAME, "resource_schema_url", "Schema URL of the resource."),
    ("scope_name", _NAME, "scope_name", "Name of the instrumentation scope."),
    ("scope_version", _NAME, "scope_version", "Version of the instrumentation scope."),
    ("scope_attributes", _ATTRIBUTES, "scope_attributes", "Attributes of the scope, as `attributes`."),
    ("scope_schema_url", _NAME, "scope_schema_url", "Schema URL of the scope."),
    ("bytes", "UInt32", "toUInt32(byteSize(record.attributes, record.body) + 100)", "Size in memory, roughly, without the resource."),
    ("quarantined", "UInt8", "at < earliest_ns OR at > latest_ns", "1 when the time is absurdly far from the time of receipt; left out of windows."),
    ("received", "DateTime64(6, 'UTC')", "fromUnixTimestamp64Micro(received_us, 'UTC')", "When ingest took it."),
)

_AT = "multiIf(record.time_unix_nano > 0, record.time_unix_nano, record.observed_time_unix_nano > 0, record.observed_time_unix_nano, toUInt64(received_us) * 1000)"
_RECORDS = "grp.log_records AS records, arrayMap(r -> cityHash64(r), grp.log_records) AS hashes"

_SELECT = f"""{", ".join(expression for _, _, expression, _ in _COLUMNS)}, {ORIGIN} FROM (
SELECT {SCOPE}, record, hash, same, {_AT} AS at FROM (
{unfold(_RECORDS)}"""

LOGS = Table(
    name="logs",
    meaning="OTLP log records. Read with FINAL: the same request sent twice is stored once, and equal records within one request stay apart.",
    columns=tuple(Column(name, kind, meaning) for name, kind, _, meaning in _COLUMNS),
    engine="ReplacingMergeTree(received)",
    order_by="(tenant, toStartOfMinute(time), service, time, record_id)",
    partition_by="toDate(received)",
    ttl="toDate(received) + INTERVAL {days} DAY",
    indices=("trace_ids trace_id TYPE bloom_filter(0.01) GRANULARITY 1",),
    writer="logs sink",
    feed=Feed(
        format="Protobuf",
        structure=structure("Logs", f"log_records Array(Tuple({_RECORD}))"),
        select=_SELECT,
        columns=tuple(name for name, _, _, _ in _COLUMNS),
        tail=f"{tail('Logs', 1)} ARRAY JOIN records AS record, hashes AS hash, arrayEnumerateUniq(hashes) AS same)",
        settings=settings(proto(_MESSAGES, "Logs")),
    ),
)
