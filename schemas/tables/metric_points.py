"""Metric data points as they came, flattened by the engine from the clients' own bytes: one row per point of every kind."""

from schemas.otlp_sql import ORIGIN, SCOPE, nanoseconds, tail, unfold
from schemas.otlp_wire import KEY_VALUES, proto, settings, structure
from schemas.tables.table import Column, Feed, Table

_MESSAGES = """
message Number { fixed64 start_time_unix_nano = 2; fixed64 time_unix_nano = 3; double as_double = 4; repeated bytes exemplars = 5; sfixed64 as_int = 6;
  repeated KeyValue attributes = 7; uint32 flags = 8; }
message Histogram { fixed64 start_time_unix_nano = 2; fixed64 time_unix_nano = 3; fixed64 count = 4; double sum = 5; repeated fixed64 bucket_counts = 6;
  repeated double explicit_bounds = 7; repeated bytes exemplars = 8; repeated KeyValue attributes = 9; uint32 flags = 10; double min = 11; double max = 12; }
message Exponential { repeated KeyValue attributes = 1; fixed64 start_time_unix_nano = 2; fixed64 time_unix_nano = 3; fixed64 count = 4; double sum = 5;
  sint32 scale = 6; fixed64 zero_count = 7; bytes positive = 8; bytes negative = 9; uint32 flags = 10; repeated bytes exemplars = 11; double min = 12;
  double max = 13; double zero_threshold = 14; }
message Quantile { double quantile = 1; double value = 2; }
message Summary { fixed64 start_time_unix_nano = 2; fixed64 time_unix_nano = 3; fixed64 count = 4; double sum = 5; repeated Quantile quantile_values = 6;
  repeated KeyValue attributes = 7; uint32 flags = 8; }
message Gauges { repeated Number data_points = 1; }
message Sums { repeated Number data_points = 1; int32 aggregation_temporality = 2; bool is_monotonic = 3; }
message Histograms { repeated Histogram data_points = 1; int32 aggregation_temporality = 2; }
message Exponentials { repeated Exponential data_points = 1; int32 aggregation_temporality = 2; }
message Summaries { repeated Summary data_points = 1; }
message Metric { string name = 1; string description = 2; string unit = 3; Gauges gauge = 5; Sums sum = 7; Histograms histogram = 9;
  Exponentials exponential_histogram = 10; Summaries summary = 11; }
message ScopeMetrics { Scope scope = 1; repeated Metric metrics = 2; string schema_url = 3; }
"""

_COMMON = f"start_time_unix_nano UInt64, time_unix_nano UInt64, attributes {KEY_VALUES}, flags UInt32"
_COUNTED = f"{_COMMON}, count UInt64, sum Nullable(Float64)"
_RANGE = "min Nullable(Float64), max Nullable(Float64), exemplars Array(String)"
_NUMBERS = f"data_points Array(Tuple({_COMMON}, as_double Nullable(Float64), as_int Nullable(Int64), exemplars Array(String)))"
_HISTOGRAMS = f"data_points Array(Tuple({_COUNTED}, {_RANGE}, bucket_counts Array(UInt64), explicit_bounds Array(Float64)))"
_EXPONENTIALS = f"data_points Array(Tuple({_COUNTED}, {_RANGE}, scale Int32, zero_count UInt64, positive String, negative String, zero_threshold Float64))"
_SUMMARIES = f"data_points Array(Tuple({_COUNTED}, quantile_values Array(Tuple(quantile Float64, value Float64))))"
_METRIC = (
    f"name String, description String, unit String, gauge Tuple({_NUMBERS}), sum Tuple({_NUMBERS}, aggregation_temporality Int32, is_monotonic Bool), "
    f"histogram Tuple({_HISTOGRAMS}, aggregation_temporality Int32), exponential_histogram Tuple({_EXPONENTIALS}, aggregation_temporality Int32), "
    f"summary Tuple({_SUMMARIES})"
)

_NAME = "LowCardinality(String)"
_ATTRIBUTES = "Map(LowCardinality(String), String)"
_TIME = "DateTime64(9, 'UTC')"

# name, type, expression over the SELECT below, meaning. A point is in exactly one of n, h, e and s; the other three are empty in its row.
_COLUMNS = (
    ("tenant", _NAME, "tenant", "Tenant of the API key."),
    ("project", _NAME, "project", "Header `x-project-name`, else the resource's `openinference.project.name`, else the default project."),
    ("service", _NAME, "service", "The resource's `service.name`."),
    ("metric", _NAME, "metric.name", "Name of the metric."),
    ("kind", _NAME, "kind", "gauge, sum, histogram, exponential_histogram or summary."),
    ("description", _NAME, "metric.description", "What the client says the metric is."),
    ("unit", _NAME, "metric.unit", "UCUM unit."),
    (
        "temporality",
        "Int32",
        "metric.sum.aggregation_temporality + metric.histogram.aggregation_temporality + metric.exponential_histogram.aggregation_temporality",
        "OTLP: 0 unspecified, 1 delta, 2 cumulative.",
    ),
    ("monotonic", "UInt8", "metric.sum.is_monotonic", "1 for a sum that only rises."),
    (
        "series",
        "UInt64",
        "cityHash64(resource, scope_name, scope_version, metric.name, kind, arraySum(arrayMap(a -> cityHash64(a), attributes)))",
        "Identity of the time series within a tenant: resource, scope, metric, kind and attributes in any order.",
    ),
    ("value", "Float64", "coalesce(n.as_double, toFloat64(n.as_int), h.sum, e.sum, s.sum, 0)", "The number; the sum of a histogram or summary."),
    ("value_int", "Nullable(Int64)", "n.as_int", "The number exactly, when the client sent an integer."),
    ("count", "UInt64", "h.count + e.count + s.count", "Observations of a histogram or summary."),
    ("sum", "Nullable(Float64)", "coalesce(h.sum, e.sum, s.sum)", "Sum of the observations, when the client sent one."),
    ("min", "Nullable(Float64)", "coalesce(h.min, e.min)", "Smallest observation."),
    ("max", "Nullable(Float64)", "coalesce(h.max, e.max)", "Largest observation."),
    ("bounds", "Array(Float64)", "h.explicit_bounds", "Upper bounds of a histogram's buckets."),
    ("buckets", "Array(UInt64)", "h.bucket_counts", "Observations per bucket of a histogram."),
    ("scale", "Int32", "e.scale", "Scale of an exponential histogram."),
    ("zero_count", "UInt64", "e.zero_count", "Observations of an exponential histogram that count as zero."),
    ("zero_threshold", "Float64", "e.zero_threshold", "Half width of the zero bucket."),
    ("positive", "String", "e.positive", "Serialised Buckets above zero."),
    ("negative", "String", "e.negative", "Serialised Buckets below zero."),
    ("quantiles", "Array(Tuple(quantile Float64, value Float64))", "s.quantile_values", "Quantiles of a summary."),
    ("attributes", _ATTRIBUTES, "attributes", "Attributes; a value is its serialised AnyValue, see `schemas/any_value.py`."),
    ("exemplars", "Array(String)", "arrayConcat(n.exemplars, h.exemplars, e.exemplars)", "Exemplars, each serialised."),
    ("flags", "UInt32", "n.flags + h.flags + e.flags + s.flags", "OTLP data point flags: 1 means no recorded value."),
    (
        "start_time",
        _TIME,
        nanoseconds("n.start_time_unix_nano + h.start_time_unix_nano + e.start_time_unix_nano + s.start_time_unix_nano"),
        "Since when the point counts; 1970 when the client does not say.",
    ),
    ("time", _TIME, nanoseconds("at"), "When the point was taken."),
    ("resource", _NAME, "resource", "The resource, a serialised Resource."),
    ("resource_schema_url", _NAME, "resource_schema_url", "Schema URL of the resource."),
    ("scope_name", _NAME, "scope_name", "Name of the instrumentation scope."),
    ("scope_version", _NAME, "scope_version", "Version of the instrumentation scope."),
    ("scope_attributes", _ATTRIBUTES, "scope_attributes", "Attributes of the scope, as `attributes`."),
    ("scope_schema_url", _NAME, "scope_schema_url", "Schema URL of the scope."),
    ("bytes", "UInt32", "toUInt32(byteSize(attributes) + 16 * length(h.bucket_counts) + 80)", "Size in memory, roughly, without the resource."),
    ("quarantined", "UInt8", "at < earliest_ns OR at > latest_ns", "1 when the time is absurdly far from the time of receipt; left out of windows."),
    ("received", "DateTime64(6, 'UTC')", "fromUnixTimestamp64Micro(received_us, 'UTC')", "When ingest took it."),
)

_KIND = (
    "multiIf(notEmpty(metric.gauge.data_points), 'gauge', notEmpty(metric.sum.data_points), 'sum', notEmpty(metric.histogram.data_points), 'histogram', "
    "notEmpty(metric.summary.data_points), 'summary', 'exponential_histogram')"
)
_POINTS = """ARRAY JOIN arrayConcat(metric.gauge.data_points, metric.sum.data_points) AS n, metric.histogram.data_points AS h,
  metric.exponential_histogram.data_points AS e, metric.summary.data_points AS s"""

_SELECT = f"""{", ".join(expression for _, _, expression, _ in _COLUMNS)}, {ORIGIN} FROM (
SELECT {SCOPE}, metric, kind, n, h, e, s, arrayConcat(n.attributes, h.attributes, e.attributes, s.attributes) AS attributes,
  n.time_unix_nano + h.time_unix_nano + e.time_unix_nano + s.time_unix_nano AS at FROM (
SELECT {SCOPE}, metric, {_KIND} AS kind FROM (
{unfold("arrayJoin(grp.metrics) AS metric")}"""

METRIC_POINTS = Table(
    name="metric_points",
    meaning="OTLP metric data points. Read with FINAL: the same point of a series sent twice is one row.",
    columns=tuple(Column(name, kind, meaning) for name, kind, _, meaning in _COLUMNS),
    engine="ReplacingMergeTree(received)",
    order_by="(tenant, toStartOfMinute(time), service, metric, series, time)",
    partition_by="toDate(received)",
    ttl="toDate(received) + INTERVAL {days} DAY",
    writer="metric_points sink",
    feed=Feed(
        format="Protobuf",
        structure=structure("Metrics", f"metrics Array(Tuple({_METRIC}))"),
        select=_SELECT,
        columns=tuple(name for name, _, _, _ in _COLUMNS),
        tail=f"{tail('Metrics', 2)} {_POINTS})",
        settings={**settings(proto(_MESSAGES, "Metrics")), "enable_unaligned_array_join": "1"},
    ),
)
