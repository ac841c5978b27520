"""Every topic, once. Creation, lineage, documentation and the code that produces or consumes all read these lines."""

from dataclasses import dataclass
from enum import StrEnum


class Holds(StrEnum):
    """What a record of a topic is."""

    BLOCK = "block"
    """Many rows in a form the engine decodes natively; see `schemas.blocks`."""
    EXPORT = "export"
    """One OTLP Export*ServiceRequest, as the Collector's kafkaexporter writes it."""
    TASK = "task"
    """One span that a model is to judge by a rule."""
    MARK = "mark"
    """A (subject, minutes) pair that a stored block touched."""
    UPDATE = "update"
    """A new revision of a window."""
    CONTROL = "control"
    """A definition or its removal."""
    USAGE = "usage"
    """When a key was last used."""
    DEAD = "dead"
    """A block that could not be stored, with its origin and the reason in headers."""


@dataclass(frozen=True)
class Topic:
    """One topic: what it holds and how it is kept."""

    name: str
    """The name on the broker."""
    holds: Holds
    """Kind of record."""
    key: str
    """What the record key is, in words."""
    meaning: str
    """One sentence for the reference."""
    single_partition: bool = False
    """One partition whatever the setting says: total order matters more than scale."""
    compacted: bool = False
    """Keep the newest record of each key for ever instead of all records for the retention time."""


EVENTS = Topic("events", Holds.BLOCK, "none: spread evenly", "A/B events from the HTTP door, as Arrow blocks.")
TELEMETRY = Topic("telemetry", Holds.BLOCK, "none: spread evenly", "Crucible telemetry events, as Arrow blocks.")
SPANS = Topic("spans", Holds.BLOCK, "none: spread evenly", "OTLP spans, as blocks of the clients' own protobuf bytes.")
METRIC_POINTS = Topic("metric_points", Holds.BLOCK, "none: spread evenly", "OTLP metric data points, as blocks of the clients' own protobuf bytes.")
LOGS = Topic("logs", Holds.BLOCK, "none: spread evenly", "OTLP log records, as blocks of the clients' own protobuf bytes.")
ANNOTATIONS = Topic("annotations", Holds.BLOCK, "none: spread evenly", "Annotations of spans, traces, sessions and documents, as Arrow blocks.")
SPAN_EDITS = Topic("span_edits", Holds.BLOCK, "none", "Deletions of spans, traces and projects, and moves of traces, as Arrow blocks.", single_partition=True)
EVALUATIONS = Topic("evaluations", Holds.BLOCK, "none: spread evenly", "What became of each span that an evaluation rule judged, as Arrow blocks.")

OTLP_SPANS = Topic("otlp_spans", Holds.EXPORT, "the exporter's", "Kafka door for traces, encoding otlp_proto.")
OTLP_METRICS = Topic("otlp_metrics", Holds.EXPORT, "the exporter's", "Kafka door for metrics, encoding otlp_proto.")
OTLP_LOGS = Topic("otlp_logs", Holds.EXPORT, "the exporter's", "Kafka door for logs, encoding otlp_proto.")

EXPERIMENT_MARKS = Topic("experiment_marks", Holds.MARK, "tenant/experiment", "Experiments whose events changed, for assignments and significance.")
TELEMETRY_MARKS = Topic("telemetry_marks", Holds.MARK, "tenant", "Tenants whose spans or metric points changed, for cardinality and cost.")
EVALUATION_TASKS = Topic("evaluation_tasks", Holds.TASK, "tenant/rule", "Spans that models are to judge, each with its prompt.")
EVALUATION_MARKS = Topic("evaluation_marks", Holds.MARK, "tenant", "Rules whose evaluations changed, for their windows.")
UPDATES = Topic("updates", Holds.UPDATE, "tenant/subject", "New revisions of windows, for the live hub.", single_partition=True)
CONTROL = Topic("control", Holds.CONTROL, "kind/tenant/id", "Definitions that ingest and streams follow.", single_partition=True, compacted=True)
KEY_USAGE = Topic("key_usage", Holds.USAGE, "tenant/key", "When each API key was last used, as ingest saw it.", single_partition=True, compacted=True)
DEAD_LETTERS = Topic(
    "dead_letters", Holds.DEAD, "origin topic", "Blocks and exports that could not be stored, with their original bytes.", single_partition=True
)

RAW = (EVENTS, TELEMETRY, SPANS, METRIC_POINTS, LOGS, ANNOTATIONS, SPAN_EDITS, EVALUATIONS)
DOORS = (OTLP_SPANS, OTLP_METRICS, OTLP_LOGS)
TOPICS = (*RAW, *DOORS, EXPERIMENT_MARKS, TELEMETRY_MARKS, EVALUATION_TASKS, EVALUATION_MARKS, UPDATES, CONTROL, KEY_USAGE, DEAD_LETTERS)
BY_NAME = {topic.name: topic for topic in TOPICS}
