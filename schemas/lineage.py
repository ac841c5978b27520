"""Where every topic and table comes from and goes to, as data: the one graph that the lineage page, the documentation and the rules read.

Topics, tables and doors are declared elsewhere; here stand only the programs between them. A test holds each entry against the code:
the registered agents, the tables named in their SQL, the routes of the query service.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from schemas import topics as t
from schemas.surfaces import LLM, OTLP, SURFACES
from schemas.tables.cardinality_states import CARDINALITY_STATES
from schemas.tables.catalog import FED, TABLES
from schemas.tables.cost_usage import COST_USAGE
from schemas.tables.ledger import DEAD_LETTERS, LEDGER
from schemas.tables.session_starts import SESSION_STARTS
from schemas.tables.table import Table
from schemas.tables.unit_totals import SEALS, UNIT_KEYED_TOTALS, UNIT_TOTALS
from schemas.tables.watermarks import WATERMARKS
from schemas.tables.windows import WINDOWS
from schemas.topics import Topic

NodeKind = Literal["door", "topic", "agent", "table", "store", "reader", "path"]


class Node(NamedTuple):
    """One station of the data."""

    name: str
    """`kind:name`, unique."""
    kind: str


class Edge(NamedTuple):
    """Data goes from source to target."""

    source: str
    kind: str
    """publishes, consumes, follows, writes, reads or serves."""
    target: str


@dataclass(frozen=True)
class Program:
    """Something that takes data from one place to another."""

    name: str
    service: Literal["ingest", "streams", "query", "cli"]
    consumes: tuple[Topic, ...] = ()
    """Topics it works through, record by record."""
    follows: tuple[Topic, ...] = ()
    """Topics it keeps a copy of in memory."""
    reads: tuple[Table, ...] = ()
    writes: tuple[Table, ...] = ()
    publishes: tuple[Topic, ...] = ()


@dataclass(frozen=True)
class Reader:
    """One module of `query_api.readers` or one part of the live connection, with the paths that answer from it."""

    name: str
    tables: tuple[Table, ...]
    paths: tuple[str, ...]
    consumes: tuple[Topic, ...] = ()


DOOR_TOPICS: Final[dict[str, Topic]] = {
    "event": t.EVENTS,
    "event_batch": t.EVENTS,
    "flag": t.EVENTS,
    "assignment": t.EVENTS,
    "ofrep": t.EVENTS,
    "telemetry_batch": t.TELEMETRY,
    "traces": t.SPANS,
    "metrics": t.METRIC_POINTS,
    "logs": t.LOGS,
}
"""Where what comes through each door of `schemas.surfaces` goes, which for a question is the exposure it makes; the gRPC services of the last three go the same way."""

MARKS: Final[dict[str, Topic]] = {
    t.EVENTS.name: t.EXPERIMENT_MARKS,
    **{topic.name: t.TELEMETRY_MARKS for topic in (t.SPANS, t.METRIC_POINTS, t.LOGS)},
    t.EVALUATIONS.name: t.EVALUATION_MARKS,
}
"""Where the sink of a raw topic says what changed."""

_OF_UNITS = (UNIT_TOTALS, UNIT_KEYED_TOTALS, SEALS)

SINKS: Final = tuple(
    Program(
        f"{topic.name}_sink",
        "streams",
        consumes=(topic,),
        reads=(LEDGER,),
        writes=(FED[topic.name], *(table for table in TABLES if table.view_source == topic.name), LEDGER),
        publishes=(*((MARKS[topic.name],) if topic.name in MARKS else ()), t.DEAD_LETTERS),
    )
    for topic in t.RAW
)
"""One sink per raw topic."""

COMPUTATIONS: Final = (
    Program(
        "assignments",
        "streams",
        consumes=(t.EXPERIMENT_MARKS,),
        follows=(t.CONTROL,),
        reads=(FED["events"], *_OF_UNITS, WINDOWS["assignments"], WATERMARKS),
        writes=(*_OF_UNITS, WINDOWS["assignments"], WATERMARKS),
        publishes=(t.UPDATES,),
    ),
    Program(
        "significance",
        "streams",
        consumes=(t.EXPERIMENT_MARKS,),
        follows=(t.CONTROL,),
        reads=(FED["events"], *_OF_UNITS, WINDOWS["significance"], WATERMARKS),
        writes=(*_OF_UNITS, WINDOWS["significance"], WATERMARKS),
        publishes=(t.UPDATES,),
    ),
    Program(
        "cardinality",
        "streams",
        consumes=(t.TELEMETRY_MARKS,),
        reads=(FED["metric_points"], FED["spans"], CARDINALITY_STATES, WINDOWS["cardinality"], WATERMARKS),
        writes=(CARDINALITY_STATES, WINDOWS["cardinality"], WATERMARKS),
        publishes=(t.UPDATES,),
    ),
    Program(
        "cost",
        "streams",
        consumes=(t.TELEMETRY_MARKS,),
        follows=(t.CONTROL,),
        reads=(FED["spans"], FED["metric_points"], COST_USAGE, WINDOWS["cost"], WATERMARKS),
        writes=(COST_USAGE, WINDOWS["cost"], WATERMARKS),
        publishes=(t.UPDATES,),
    ),
    Program(
        "evaluation",
        "streams",
        consumes=(t.EVALUATION_MARKS,),
        follows=(t.CONTROL,),
        reads=(FED["evaluations"], WINDOWS["evaluation"], WATERMARKS),
        writes=(WINDOWS["evaluation"], WATERMARKS),
        publishes=(t.UPDATES,),
    ),
)
"""The four computations, and the windows of online evaluation."""

EVALUATOR: Final = Program(
    "evaluator",
    "streams",
    consumes=(t.TELEMETRY_MARKS,),
    follows=(t.CONTROL,),
    reads=(FED["spans"], FED["span_edits"]),
    publishes=(t.ANNOTATIONS, t.EVALUATIONS, t.EVALUATION_TASKS),
)

DEAD_LETTER_INDEX: Final = Program("dead_letter_index", "streams", consumes=(t.DEAD_LETTERS,), writes=(DEAD_LETTERS,))

AGENTS: Final = (*SINKS, DEAD_LETTER_INDEX, *COMPUTATIONS, EVALUATOR)
"""Every Faust agent."""

SERVICES: Final = (
    Program("admission", "ingest", follows=(t.CONTROL,)),
    Program("key_usage", "ingest", publishes=(t.KEY_USAGE,)),
    Program("span_feedback", "ingest", publishes=(t.ANNOTATIONS,)),
    Program("kafka_bridge", "ingest", consumes=t.DOORS, publishes=(t.SPANS, t.METRIC_POINTS, t.LOGS, t.DEAD_LETTERS)),
    Program("redefinitions", "streams", follows=(t.CONTROL,), publishes=(t.EXPERIMENT_MARKS, t.TELEMETRY_MARKS)),
    Program("judge", "streams", consumes=(t.EVALUATION_TASKS,), follows=(t.CONTROL,), reads=(FED["evaluations"],), publishes=(t.ANNOTATIONS, t.EVALUATIONS)),
    Program("outbox", "query", publishes=(t.CONTROL,)),
    Program("block_writer", "query", publishes=(t.ANNOTATIONS, t.SPAN_EDITS, t.SPANS)),
    Program("breaker", "query", consumes=(t.UPDATES,), follows=(t.CONTROL,), reads=(WINDOWS["significance"],)),
    Program("endings", "query", follows=(t.CONTROL,)),
    Program("evaluation_alerts", "query", consumes=(t.UPDATES,), follows=(t.CONTROL,), reads=(WINDOWS["evaluation"],)),
    Program("recompute", "cli", publishes=(t.EXPERIMENT_MARKS, t.TELEMETRY_MARKS, t.EVALUATION_MARKS)),
    Program("dlq", "cli", consumes=(t.DEAD_LETTERS,), publishes=(*t.RAW, *t.DOORS)),
)
"""Programs beside the agents."""

_LIVE = "WS /platform/v1/live"
_WEBHOOK = "/experimentation/api/v1/webhooks"
_WEBHOOKS = (
    f"GET {_WEBHOOK}",
    f"POST {_WEBHOOK}",
    *(f"{method} {_WEBHOOK}/{{webhook_id}}" for method in ("GET", "PUT", "DELETE")),
    *(f"POST {_WEBHOOK}/{{webhook_id}}/{action}" for action in ("rotate-secret", "test", "deliveries/{delivery_id}/retry")),
    f"GET {_WEBHOOK}/{{webhook_id}}/deliveries",
)
_API = "/experimentation/api/v1"
_FLAGS = (
    *(f"{method} {_API}/feature-flags" for method in ("GET", "POST")),
    *(f"{method} {_API}/feature-flags/{{flag_id}}" for method in ("GET", "PUT", "DELETE")),
    f"PATCH {_API}/feature-flags/{{flag_id}}/toggle",
)
_USERS = (*(f"{method} {_API}/users" for method in ("GET", "POST")), *(f"{method} {_API}/users/{{user_id}}" for method in ("GET", "PUT", "DELETE")))
_KEYS = (*(f"{method} {_API}/api-keys" for method in ("GET", "POST")), f"DELETE {_API}/api-keys/{{key_id}}")
_RESULTS: Final = f"GET {_API}/experiments/{{experiment_id}}/results"
_REPLAY: Final = f"POST {_API}/experiments/{{experiment_id}}/replay"
_EXPERIMENTS = (
    *(f"{method} {_API}/experiments" for method in ("GET", "POST")),
    *(f"{method} {_API}/experiments/{{experiment_id}}" for method in ("GET", "PUT")),
    *(f"POST {_API}/experiments/{{experiment_id}}/{move}" for move in ("start", "stop", "pause", "resume", "archive", "rollback", "restore")),
)
_GROUPS = (
    *(f"{method} {_API}/exclusion-groups" for method in ("GET", "POST")),
    *(f"{method} {_API}/exclusion-groups/{{group_id}}" for method in ("GET", "PUT")),
)
_LLM: Final = "/llm/v1"
_PROJECTS = (
    *(f"{method} {_LLM}/projects" for method in ("GET", "POST")),
    *(f"{method} {_LLM}/projects/{{project_identifier}}" for method in ("GET", "PUT", "DELETE")),
)
_OF_PROJECT: Final = f"{_LLM}/projects/{{project_identifier}}"
_SPANS = (*(f"GET {_OF_PROJECT}/spans{view}" for view in ("", "/otlpv1", "/search")), f"POST {_OF_PROJECT}/spans", f"DELETE {_LLM}/spans/{{span_identifier}}")
_TRACES = (f"GET {_OF_PROJECT}/traces", f"POST {_LLM}/traces/transfer", f"DELETE {_LLM}/traces/{{trace_identifier}}")
_SESSIONS = (
    f"GET {_OF_PROJECT}/sessions",
    *(f"{method} {_LLM}/sessions/{{session_identifier:path}}" for method in ("GET", "DELETE")),
    f"POST {_LLM}/sessions/delete",
)
_SPAN_EDITS = (f"POST {_OF_PROJECT}/spans", f"POST {_LLM}/traces/transfer", f"GET {_LLM}/sessions/{{session_identifier:path}}")
_PROMPT: Final = f"{_LLM}/prompts/{{prompt_identifier}}"
_PROMPT_VERSION: Final = f"{_LLM}/prompt_versions/{{prompt_version_id}}"
_PROMPTS = (
    *(f"{method} {_LLM}/prompts" for method in ("GET", "POST")),
    *(f"{method} {_PROMPT}" for method in ("PATCH", "DELETE")),
    *(f"{method} {_PROMPT}/versions" for method in ("GET", "POST")),
    f"GET {_PROMPT}/latest",
    f"GET {_PROMPT}/tags/{{tag_name}}",
    f"GET {_PROMPT_VERSION}",
    *(f"{method} {_PROMPT_VERSION}/tags" for method in ("GET", "POST")),
    f"DELETE {_PROMPT_VERSION}/tags/{{tag_name}}",
)
_TARGETS: Final = ("span", "trace", "session", "document")
_ANNOTATIONS: Final = (
    *(f"POST {_LLM}/{target}_annotations" for target in _TARGETS),
    *(f"POST {_LLM}/{target}_notes" for target in _TARGETS if target != "document"),
    *(f"{method} {_LLM}/projects/{{project_identifier}}/{target}_annotations" for method in ("GET", "DELETE") for target in _TARGETS),
    *(f"{method} {_LLM}/evaluations" for method in ("GET", "POST")),
)
_RULES = (
    *(f"{method} {_LLM}/evaluation_rules" for method in ("GET", "POST")),
    *(f"{method} {_LLM}/evaluation_rules/{{rule_id}}" for method in ("GET", "PUT", "DELETE")),
)
_ANNOTATION_CONFIGS = (
    *(f"{method} {_LLM}/annotation_configs" for method in ("GET", "POST")),
    *(f"{method} {_LLM}/annotation_configs/{{config_identifier}}" for method in ("GET", "PUT", "DELETE")),
)
_LLM_USERS = (f"GET {_LLM}/user", *(f"{method} {_LLM}/users" for method in ("GET", "POST")), f"DELETE {_LLM}/users/{{user_id}}")
_DATASET: Final = f"{_LLM}/datasets/{{id}}"
_SPLITS: Final = f"{_LLM}/datasets/{{dataset_identifier}}/splits"
_DATASETS = (
    f"GET {_LLM}/datasets",
    f"POST {_LLM}/datasets/upload",
    *(f"{method} {_DATASET}" for method in ("GET", "DELETE")),
    *(f"GET {_DATASET}/{part}" for part in ("versions", "examples", "csv", "jsonl", "jsonl/openai_ft", "jsonl/openai_evals")),
    f"POST {_SPLITS}",
    *(f"{method} {_SPLITS}/{{split_id}}" for method in ("PATCH", "DELETE")),
)
_LLM_EXPERIMENT: Final = f"{_LLM}/experiments/{{experiment_id}}"
_LLM_EXPERIMENTS = (
    *(f"{method} {_LLM}/datasets/{{dataset_id}}/experiments" for method in ("GET", "POST")),
    *(f"{method} {_LLM_EXPERIMENT}" for method in ("GET", "PATCH", "DELETE")),
    *(f"GET {_LLM_EXPERIMENT}/{part}" for part in ("compare", "diff", "incomplete-runs", "incomplete-evaluations")),
    *(f"{method} {_LLM_EXPERIMENT}/runs" for method in ("GET", "POST")),
    f"POST {_LLM}/experiment_evaluations",
)
_LLM_EXPERIMENT_FILES = (f"GET {_LLM_EXPERIMENT}/json", f"GET {_LLM_EXPERIMENT}/csv")
READERS: Final = (
    Reader("windows", (*WINDOWS.values(), WATERMARKS), ("GET /platform/v1/windows/{kind}", "GET /platform/v1/freshness", _RESULTS, _LIVE)),
    Reader("unit_metrics", (FED["events"],), (_REPLAY, _RESULTS)),
    Reader("exposed_units", (FED["events"],), (f"PUT {_API}/experiments/{{experiment_id}}",)),
    Reader("projects", (FED["spans"], FED["span_edits"]), _PROJECTS),
    Reader("costs", (COST_USAGE,), (f"GET {_LLM}/projects/{{project_identifier}}/costs",), consumes=(t.CONTROL,)),
    Reader("span_usage", (FED["spans"],), ("GET /platform/v1/windows/{kind}",), consumes=(t.CONTROL,)),
    Reader("annotations", (FED["annotations"], FED["spans"], FED["span_edits"]), _ANNOTATIONS),
    Reader("spans", (FED["spans"],), _SPANS),
    Reader("traces", (FED["spans"],), _TRACES),
    Reader("span_query", (FED["spans"], FED["annotations"], FED["span_edits"]), (f"POST {_LLM}/spans",)),
    Reader("sessions", (SESSION_STARTS, FED["spans"], FED["span_edits"]), _SESSIONS),
    Reader("span_edits", (FED["span_edits"],), _SPAN_EDITS),
    Reader("datasets", (), _DATASETS),
    Reader("llm_experiments", (), _LLM_EXPERIMENTS),
    Reader("span_traces", (FED["spans"], FED["span_edits"]), (f"POST {_LLM}/datasets/upload", *_LLM_EXPERIMENT_FILES)),
    Reader("ledger", (LEDGER,), ("GET /platform/v1/topics", "GET /platform/v1/freshness", _LIVE)),
    Reader("dead_letters", (DEAD_LETTERS,), ("GET /platform/v1/dead-letters",)),
    Reader("updates", (), (_LIVE,), consumes=(t.UPDATES,)),
    Reader("definitions", (), ("GET /platform/v1/definitions",), consumes=(t.CONTROL,)),
    Reader("webhooks", (), _WEBHOOKS),
    Reader("experiments", (), _EXPERIMENTS, consumes=(t.CONTROL,)),
    Reader("exclusion_groups", (), _GROUPS, consumes=(t.CONTROL,)),
    Reader("audit_log", (), (f"GET {_API}/audit-log",)),
    Reader("flags", (), _FLAGS),
    Reader("prompts", (), _PROMPTS),
    Reader("annotation_configs", (), _ANNOTATION_CONFIGS),
    Reader("users", (), (*_USERS, *_LLM_USERS)),
    Reader("evaluation_rules", (), _RULES, consumes=(t.CONTROL,)),
    Reader("evaluated_spans", (FED["spans"], FED["span_edits"]), (f"POST {_LLM}/evaluation_rules/test",)),
    Reader("key_usage", (), _KEYS, consumes=(t.KEY_USAGE,)),
)
"""What the query service answers from."""

UNREAD: Final[dict[str, str]] = {"telemetry": "the crucible surface", "logs": "the llm surface"}
"""Tables that are filled but not served yet, with the surface that will; a test keeps the list true."""


def lineage() -> tuple[list[Node], list[Edge]]:
    """Every station once and every way between two, in the order data takes. Equal declarations give equal lists."""
    graph = _Graph()
    for surface in SURFACES:
        for request, door in surface.doors.items():
            method, path = request.split(" ")
            address = f"4318 {path}" if surface is OTLP else f"/{surface.name}{path}"
            graph.edge(("door", f"{method} {address}"), "publishes", ("topic", DOOR_TOPICS[door].name))
        for path, protocol in surface.protocols.items():
            graph.edge(("door", f"POST /{surface.name}{path}"), "publishes", ("topic", DOOR_TOPICS[protocol].name))
    for door in LLM.doors.values():
        graph.edge(("door", f"gRPC 4317 {door}"), "publishes", ("topic", DOOR_TOPICS[door].name))
    for topic in t.DOORS:
        graph.edge(("door", f"Kafka {topic.name}"), "publishes", ("topic", topic.name))
    graph.edge(("store", "control store"), "reads", ("agent", "outbox"))
    for name in ("breaker", "endings"):
        graph.edge(("agent", name), "writes", ("store", "control store"))
    for name in (
        "webhooks",
        "experiments",
        "exclusion_groups",
        "audit_log",
        "flags",
        "users",
        "key_usage",
        "projects",
        "datasets",
        "llm_experiments",
        "prompts",
        "annotation_configs",
        "evaluation_rules",
    ):
        graph.edge(("store", "control store"), "reads", ("reader", name))
    for program in (*SERVICES, *AGENTS):
        graph.program(program)
    for reader in READERS:
        place: tuple[NodeKind, str] = ("reader", reader.name)
        for table in reader.tables:
            graph.edge(("table", table.name), "reads", place)
        for topic in reader.consumes:
            graph.edge(("topic", topic.name), "consumes", place)
        for path in reader.paths:
            graph.edge(place, "serves", ("path", path))
    for topic in t.TOPICS:
        graph.node("topic", topic.name)
    for table in TABLES:
        graph.node("table", table.name)
    return list(graph.nodes), list(graph.edges)


class _Graph:
    """Collects nodes and edges, each once, in order."""

    def __init__(self) -> None:
        self.nodes: dict[Node, None] = {}
        self.edges: dict[Edge, None] = {}

    def node(self, kind: NodeKind, name: str) -> str:
        node = Node(f"{kind}:{name}", kind)
        self.nodes[node] = None
        return node.name

    def edge(self, source: tuple[NodeKind, str], kind: str, target: tuple[NodeKind, str]) -> None:
        self.edges[Edge(self.node(*source), kind, self.node(*target))] = None

    def program(self, program: Program) -> None:
        place: tuple[NodeKind, str] = ("agent", program.name)
        for topic in program.consumes:
            self.edge(("topic", topic.name), "consumes", place)
        for topic in program.follows:
            self.edge(("topic", topic.name), "follows", place)
        for table in program.reads:
            self.edge(("table", table.name), "reads", place)
        for table in program.writes:
            self.edge(place, "writes", ("table", table.name))
        for topic in program.publishes:
            self.edge(place, "publishes", ("topic", topic.name))
