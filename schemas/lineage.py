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
}
"""Where the sink of a raw topic says what changed."""

_OF_UNITS = (UNIT_TOTALS, UNIT_KEYED_TOTALS, SEALS)

SINKS: Final = tuple(
    Program(
        f"{topic.name}_sink",
        "streams",
        consumes=(topic,),
        reads=(LEDGER,),
        writes=(FED[topic.name], LEDGER),
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
)
"""The four computations."""

DEAD_LETTER_INDEX: Final = Program("dead_letter_index", "streams", consumes=(t.DEAD_LETTERS,), writes=(DEAD_LETTERS,))

AGENTS: Final = (*SINKS, DEAD_LETTER_INDEX, *COMPUTATIONS)
"""Every Faust agent."""

SERVICES: Final = (
    Program("admission", "ingest", follows=(t.CONTROL,)),
    Program("key_usage", "ingest", publishes=(t.KEY_USAGE,)),
    Program("kafka_bridge", "ingest", consumes=t.DOORS, publishes=(t.SPANS, t.METRIC_POINTS, t.LOGS, t.DEAD_LETTERS)),
    Program("redefinitions", "streams", follows=(t.CONTROL,), publishes=(t.EXPERIMENT_MARKS, t.TELEMETRY_MARKS)),
    Program("outbox", "query", publishes=(t.CONTROL,)),
    Program("block_writer", "query", publishes=(t.ANNOTATIONS, t.SPAN_EDITS, t.SPANS)),
    Program("breaker", "query", consumes=(t.UPDATES,), follows=(t.CONTROL,), reads=(WINDOWS["significance"],)),
    Program("recompute", "cli", publishes=(t.EXPERIMENT_MARKS, t.TELEMETRY_MARKS)),
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
READERS: Final = (
    Reader("windows", (*WINDOWS.values(), WATERMARKS), ("GET /platform/v1/windows/{kind}", "GET /platform/v1/freshness", _RESULTS, _LIVE)),
    Reader("unit_metrics", (FED["events"],), (_REPLAY,)),
    Reader("exposed_units", (FED["events"],), (f"PUT {_API}/experiments/{{experiment_id}}",)),
    Reader("projects", (FED["spans"], FED["span_edits"]), _PROJECTS),
    Reader("spans", (FED["spans"],), ("GET /llm/v1/projects/{project}/spans",)),
    Reader("ledger", (LEDGER,), ("GET /platform/v1/topics", "GET /platform/v1/freshness", _LIVE)),
    Reader("dead_letters", (DEAD_LETTERS,), ("GET /platform/v1/dead-letters",)),
    Reader("updates", (), (_LIVE,), consumes=(t.UPDATES,)),
    Reader("definitions", (), ("GET /platform/v1/definitions",), consumes=(t.CONTROL,)),
    Reader("webhooks", (), _WEBHOOKS),
    Reader("experiments", (), _EXPERIMENTS, consumes=(t.CONTROL,)),
    Reader("exclusion_groups", (), _GROUPS, consumes=(t.CONTROL,)),
    Reader("audit_log", (), (f"GET {_API}/audit-log",)),
    Reader("flags", (), _FLAGS),
    Reader("users", (), _USERS),
    Reader("key_usage", (), _KEYS, consumes=(t.KEY_USAGE,)),
)
"""What the query service answers from."""

UNREAD: Final[dict[str, str]] = {"annotations": "the llm surface", "telemetry": "the crucible surface", "logs": "the llm surface"}
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
    graph.edge(("agent", "breaker"), "writes", ("store", "control store"))
    for name in ("webhooks", "experiments", "exclusion_groups", "audit_log", "flags", "users", "key_usage", "projects"):
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
