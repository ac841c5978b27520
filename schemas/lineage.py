"""Where every topic and table comes from and goes to, as data: the one graph that the lineage page, the documentation and the rules read.

Topics, tables and doors are declared elsewhere; here stand only the programs between them. A test holds each entry against the code:
the registered agents, the tables named in their SQL, the routes of the query service.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from schemas import topics as t
from schemas.lineage_readers import READERS
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

UNREAD: Final[dict[str, str]] = {"logs": "the llm surface"}
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
    for program in (*SERVICES, *AGENTS):
        graph.program(program)
    for reader in READERS:
        place: tuple[NodeKind, str] = ("reader", reader.name)
        if reader.stored:
            graph.edge(("store", "control store"), "reads", place)
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
