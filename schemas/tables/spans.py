"""Spans as they came, flattened by the engine from the clients' own bytes."""

from schemas.llm_model import KIND_OF_OPERATION, NAMES
from schemas.otlp_sql import ORIGIN, SCOPE, codes, nanoseconds, tail, unfold, wanted_texts
from schemas.otlp_wire import KEY_VALUES, proto, settings, structure
from schemas.tables.table import Column, Feed, Table

_MESSAGES = """
message Status { string message = 2; int32 code = 3; }
message Span { bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; uint32 dropped_attributes_count = 10;
  repeated bytes events = 11; uint32 dropped_events_count = 12; repeated bytes links = 13; uint32 dropped_links_count = 14; Status status = 15; fixed32 flags = 16; }
message ScopeSpans { Scope scope = 1; repeated Span spans = 2; string schema_url = 3; }
"""

_SPAN = (
    "trace_id String, span_id String, trace_state String, parent_span_id String, name String, kind Int32, start_time_unix_nano UInt64, "
    f"end_time_unix_nano UInt64, attributes {KEY_VALUES}, dropped_attributes_count UInt32, events Array(String), dropped_events_count UInt32, "
    "links Array(String), dropped_links_count UInt32, status Tuple(message String, code Int32), flags UInt32"
)
# An attribute of OpenInference wins over the one of the GenAI conventions when a span carries both.
_WANTED = (
    ("openinference.span.kind",),
    *((name, *NAMES[name]) for name in ("session.id", "user.id")),
    *((name, *NAMES[name]) for name in ("llm.provider", "llm.model_name", "llm.token_count.prompt", "llm.token_count.completion")),
    *((name, *NAMES[name]) for name in ("llm.token_count.prompt_details.cache_read", "llm.token_count.completion_details.reasoning")),
    ("llm.prompt_template.version", "prompt.id"),
    ("gen_ai.operation.name",),
)
_OPERATIONS = f"{list(KIND_OF_OPERATION)}, {list(KIND_OF_OPERATION.values())}"
_KIND = f"if(texts[1] != '', texts[1], transform(texts[11], {_OPERATIONS}, ''))"

REST_SCOPE = "millstream.rest"
"""Scope of spans that came through the REST API instead of OTLP."""
_BODY = "substring({}, 3 + (length({}) > 129) + (length({}) > 16386) + (length({}) > 2097155))"
"""Text of a stored string, which for anything else is meaningless but harmless to an index."""
_METADATA = "attributes['metadata']"
_METADATA_TEXT = _BODY.replace("{}", _METADATA)


def pair(*parts: str) -> str:
    """What `pairs` holds of an attribute, as SQL over the SQL of its name and value."""
    return f"toUInt32(cityHash64({', '.join(parts)}))"


_PAIRS = f"""arrayConcat(
  arrayMap((k, v) -> if(startsWith(v, '2'), {pair("k")}, {pair("k", "v")}), mapKeys(attributes), mapValues(attributes)),
  arrayMap(p -> {pair("'metadata'", "p.1", "p.2")}, JSONExtractKeysAndValues({_METADATA_TEXT}, 'String')))"""
_NAME = "LowCardinality(String)"
_ATTRIBUTES = "Map(LowCardinality(String), String)"
_TIME = "DateTime64(9, 'UTC')"

# name, type, expression over the SELECT below, meaning
_COLUMNS = (
    ("tenant", _NAME, "tenant", "Tenant of the API key."),
    ("project", _NAME, "project", "Header `x-project-name`, else the resource's `openinference.project.name`, else the default project."),
    ("service", _NAME, "service", "The resource's `service.name`."),
    ("trace_id", "String", "lower(hex(span.trace_id))", "Trace id, lower-case hex."),
    ("span_id", "String", "lower(hex(span.span_id))", "Span id, lower-case hex; unique within its trace only."),
    ("parent_id", "String", "lower(hex(span.parent_span_id))", "Span id of the parent, empty for a root."),
    ("name", _NAME, "span.name", "Name of the operation."),
    ("kind", "Int32", "span.kind", "OTLP SpanKind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."),
    ("start_time", _TIME, nanoseconds("span.start_time_unix_nano"), "When the span began."),
    ("end_time", _TIME, nanoseconds("span.end_time_unix_nano"), "When the span ended; 1970 while it runs."),
    ("status_code", "Int32", "span.status.code", "OTLP status: 0 unset, 1 ok, 2 error."),
    ("status_message", "String", "span.status.message", "Message of an error."),
    ("span_kind", _NAME, _KIND, "`openinference.span.kind`, else what `gen_ai.operation.name` stands for."),
    ("session_id", "String", "texts[2]", "`session.id`, else `gen_ai.conversation.id`."),
    ("user_id", "String", "texts[3]", "`user.id`, else `enduser.id`."),
    ("llm_provider", _NAME, "texts[4]", "`llm.provider`, else `gen_ai.provider.name`, else `gen_ai.system`."),
    ("llm_model", _NAME, "texts[5]", "`llm.model_name`, else `gen_ai.response.model`, else `gen_ai.request.model`."),
    ("prompt_tokens", "UInt64", "toUInt64OrZero(texts[6])", "`llm.token_count.prompt`, else `gen_ai.usage.input_tokens`."),
    ("completion_tokens", "UInt64", "toUInt64OrZero(texts[7])", "`llm.token_count.completion`, else `gen_ai.usage.output_tokens`."),
    ("cached_tokens", "UInt64", "toUInt64OrZero(texts[8])", "`llm.token_count.prompt_details.cache_read`, else `gen_ai.usage.cache_read.input_tokens`."),
    ("reasoning_tokens", "UInt64", "toUInt64OrZero(texts[9])", "`llm.token_count.completion_details.reasoning`, else `gen_ai.usage.reasoning.output_tokens`."),
    ("prompt_version", _NAME, "texts[10]", "`llm.prompt_template.version`, else `prompt.id`."),
    ("attributes", _ATTRIBUTES, "span.attributes", "Attributes; a value is its serialised AnyValue, see `schemas/any_value.py`."),
    ("events", "Array(String)", "span.events", "Events, each a serialised Span.Event."),
    ("links", "Array(String)", "span.links", "Links, each a serialised Span.Link."),
    ("trace_state", "String", "span.trace_state", "W3C trace state."),
    ("flags", "UInt32", "span.flags", "W3C trace flags and OTLP's context bits."),
    ("dropped_attributes", "UInt32", "span.dropped_attributes_count", "Attributes the client left out."),
    ("dropped_events", "UInt32", "span.dropped_events_count", "Events the client left out."),
    ("dropped_links", "UInt32", "span.dropped_links_count", "Links the client left out."),
    ("resource", _NAME, "resource", "The resource, a serialised Resource."),
    ("resource_schema_url", _NAME, "resource_schema_url", "Schema URL of the resource."),
    ("scope_name", _NAME, "scope_name", "Name of the instrumentation scope."),
    ("scope_version", _NAME, "scope_version", "Version of the instrumentation scope."),
    ("scope_attributes", _ATTRIBUTES, "scope_attributes", "Attributes of the scope, as `attributes`."),
    ("scope_schema_url", _NAME, "scope_schema_url", "Schema URL of the scope."),
    ("bytes", "UInt32", "toUInt32(byteSize(span.attributes, span.events, span.links) + 120)", "Size in memory, roughly, without the resource."),
    (
        "quarantined",
        "UInt8",
        "span.start_time_unix_nano < earliest_ns OR span.start_time_unix_nano > latest_ns",
        "1 when the start is absurdly far from the time of receipt; left out of windows.",
    ),
    ("received", "DateTime64(6, 'UTC')", "fromUnixTimestamp64Micro(received_us, 'UTC')", "When ingest took it."),
)

_SELECT = f"""{", ".join(expression for _, _, expression, _ in _COLUMNS)}, {ORIGIN} FROM (
SELECT {SCOPE}, span, {wanted_texts("codes", "span.attributes.value")} AS texts FROM (
SELECT {SCOPE}, span, {codes("span.attributes.key", _WANTED)} AS codes FROM (
{unfold("arrayJoin(grp.spans) AS span")}"""

SPANS = Table(
    name="spans",
    meaning="OTLP spans. Of a span sent several times counts the one that ended last, of equal ends the one stored last: FINAL, and "
    "`readers/spans.py` where its copies began at different times.",
    columns=(
        *(Column(name, kind, meaning) for name, kind, _, meaning in _COLUMNS),
        Column(
            "pairs",
            "Array(UInt32)",
            "Hashes of what `attributes` say, a thirtieth of their size: of name and value; of the name alone of a key-value list; and of what the JSON text "
            "`metadata` says at its top level.",
            f"MATERIALIZED {_PAIRS}",
        ),
    ),
    engine="ReplacingMergeTree(end_time)",
    order_by="(tenant, toStartOfMinute(start_time), project, start_time, trace_id, span_id)",
    partition_by="toDate(received)",
    ttl="toDate(received) + INTERVAL {days} DAY",
    indices=(
        "trace_areas trace_id TYPE bloom_filter(0.0001) GRANULARITY 64",
        "trace_ids trace_id TYPE bloom_filter(0.0001) GRANULARITY 1",
        "span_ids span_id TYPE bloom_filter(0.01) GRANULARITY 1",
        "session_areas session_id TYPE bloom_filter(0.0001) GRANULARITY 64",
        "sessions session_id TYPE bloom_filter(0.001) GRANULARITY 1",
        "attribute_pairs pairs TYPE bloom_filter(0.01) GRANULARITY 1",
    ),
    granularity=1024,
    writer="spans sink",
    feed=Feed(
        format="Protobuf",
        structure=structure("Spans", f"spans Array(Tuple({_SPAN}))"),
        select=_SELECT,
        columns=tuple(name for name, _, _, _ in _COLUMNS),
        tail=tail("Spans", 3),
        settings=settings(proto(_MESSAGES, "Spans")),
    ),
)
