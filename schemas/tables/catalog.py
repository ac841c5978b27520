"""All tables, in the order they can be created."""

from schemas.tables.annotations import ANNOTATIONS
from schemas.tables.cardinality_states import CARDINALITY_STATES
from schemas.tables.cost_usage import COST_USAGE
from schemas.tables.evaluations import EVALUATIONS
from schemas.tables.events import EVENTS
from schemas.tables.ledger import DEAD_LETTERS, LEDGER
from schemas.tables.logs import LOGS
from schemas.tables.metric_points import METRIC_POINTS
from schemas.tables.run_events import RUN_EVENTS
from schemas.tables.runs import RUN_METRICS, RUNS
from schemas.tables.session_starts import SESSION_STARTS
from schemas.tables.span_edits import SPAN_EDITS
from schemas.tables.spans import SPANS
from schemas.tables.table import Table
from schemas.tables.telemetry import TELEMETRY
from schemas.tables.unit_totals import SEALS, UNIT_KEYED_TOTALS, UNIT_TOTALS
from schemas.tables.watermarks import WATERMARKS
from schemas.tables.windows import WINDOWS

FED: dict[str, Table] = {table.name: table for table in (EVENTS, TELEMETRY, SPANS, METRIC_POINTS, LOGS, ANNOTATIONS, SPAN_EDITS, EVALUATIONS)}
"""Tables filled by a sink, by the raw topic of the same name."""

TABLES: tuple[Table, ...] = (
    *FED.values(),
    SESSION_STARTS,
    RUN_EVENTS,
    RUNS,
    RUN_METRICS,
    UNIT_TOTALS,
    UNIT_KEYED_TOTALS,
    SEALS,
    CARDINALITY_STATES,
    COST_USAGE,
    *WINDOWS.values(),
    WATERMARKS,
    LEDGER,
    DEAD_LETTERS,
)
BY_NAME = {table.name: table for table in TABLES}
