"""What the query service answers from: which tables, topics and stores each of its readers looks at, and the paths it serves. A part of `schemas.lineage`."""

from dataclasses import dataclass
from typing import Final

from schemas import topics as t
from schemas.tables.catalog import FED
from schemas.tables.cost_usage import COST_USAGE
from schemas.tables.ledger import DEAD_LETTERS, LEDGER
from schemas.tables.run_events import RUN_EVENTS
from schemas.tables.runs import RUN_METRICS, RUNS
from schemas.tables.session_starts import SESSION_STARTS
from schemas.tables.table import Table
from schemas.tables.watermarks import WATERMARKS
from schemas.tables.windows import WINDOWS
from schemas.topics import Topic


@dataclass(frozen=True)
class Reader:
    """One module of `query_api.readers` or one part of the live connection, with the paths that answer from it."""

    name: str
    tables: tuple[Table, ...]
    paths: tuple[str, ...]
    consumes: tuple[Topic, ...] = ()
    stored: bool = False
    """Whether it answers from the control store."""


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
_CRUCIBLE: Final = "/crucible/api/v1"
_ML_EXPERIMENT: Final = f"{_CRUCIBLE}/experiments/{{experiment_id}}"
_ML_EXPERIMENTS = (
    *(f"{method} {_CRUCIBLE}/experiments" for method in ("GET", "POST")),
    *(f"{method} {_ML_EXPERIMENT}" for method in ("GET", "PATCH", "DELETE")),
    *(f"POST {_ML_EXPERIMENT}/{move}" for move in ("start", "pause", "resume", "cancel", "clone")),
    f"POST {_ML_EXPERIMENT}/export",
    f"POST {_CRUCIBLE}/export/comparison",
)
_ML_MODEL: Final = f"{_CRUCIBLE}/models/{{model_id}}"
_ML_MODELS = (
    *(f"{method} {_CRUCIBLE}/models" for method in ("GET", "POST")),
    *(f"{method} {_ML_MODEL}" for method in ("GET", "PATCH", "DELETE")),
)
_RUN: Final = f"{_CRUCIBLE}/runs/{{run_id:path}}"
_RUNS = (
    f"GET {_CRUCIBLE}/runs",
    f"GET {_ML_EXPERIMENT}/runs",
    f"GET {_ML_EXPERIMENT}",
    *(f"GET {_RUN}{part}" for part in ("", "/checkpoints", "/checkpoints/{checkpoint_id:path}/download")),
    f"POST {_ML_EXPERIMENT}/export",
    f"POST {_CRUCIBLE}/export/comparison",
)
_SESSION = tuple(f"{method} {_CRUCIBLE}/session" for method in ("POST", "DELETE"))
_TELEMETRY = (
    *(f"GET {_CRUCIBLE}/telemetry/{part}" for part in ("events", "aggregate")),
    f"POST {_CRUCIBLE}/telemetry/export",
    f"POST {_ML_EXPERIMENT}/export",
)
_STATISTICAL_RESULTS = (
    *(f"{method} {_CRUCIBLE}/statistical-results" for method in ("GET", "POST")),
    f"GET {_CRUCIBLE}/statistical-results/{{id}}",
    f"GET {_ML_EXPERIMENT}/statistical-results",
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
    Reader("projects", (FED["spans"], FED["span_edits"]), _PROJECTS, stored=True),
    Reader("costs", (COST_USAGE,), (f"GET {_LLM}/projects/{{project_identifier}}/costs",), consumes=(t.CONTROL,)),
    Reader("span_usage", (FED["spans"],), ("GET /platform/v1/windows/{kind}",), consumes=(t.CONTROL,)),
    Reader("annotations", (FED["annotations"], FED["spans"], FED["span_edits"]), _ANNOTATIONS),
    Reader("spans", (FED["spans"],), _SPANS),
    Reader("traces", (FED["spans"],), _TRACES),
    Reader("span_query", (FED["spans"], FED["annotations"], FED["span_edits"]), (f"POST {_LLM}/spans",)),
    Reader("sessions", (SESSION_STARTS, FED["spans"], FED["span_edits"]), _SESSIONS),
    Reader("span_edits", (FED["span_edits"],), _SPAN_EDITS),
    Reader("datasets", (), _DATASETS, stored=True),
    Reader("llm_experiments", (), _LLM_EXPERIMENTS, stored=True),
    Reader("span_traces", (FED["spans"], FED["span_edits"]), (f"POST {_LLM}/datasets/upload", *_LLM_EXPERIMENT_FILES)),
    Reader("runs", (RUNS, RUN_METRICS, RUN_EVENTS), _RUNS),
    Reader("telemetry_tail", (FED["telemetry"],), ("WS /crucible/socket/websocket",)),
    Reader("run_logs", (RUN_EVENTS,), (f"GET {_RUN}/logs",)),
    Reader("ml_experiments", (), _ML_EXPERIMENTS, stored=True),
    Reader("telemetry", (FED["telemetry"],), _TELEMETRY),
    Reader("ml_models", (), _ML_MODELS, stored=True),
    Reader("model_statistics", (FED["telemetry"],), (f"GET {_ML_MODEL}/statistics",)),
    Reader("telemetry_values", (FED["telemetry"],), _STATISTICAL_RESULTS, stored=True),
    Reader("ledger", (LEDGER,), ("GET /platform/v1/topics", "GET /platform/v1/freshness", _LIVE)),
    Reader("dead_letters", (DEAD_LETTERS,), ("GET /platform/v1/dead-letters",)),
    Reader("updates", (), (_LIVE,), consumes=(t.UPDATES,)),
    Reader("definitions", (), ("GET /platform/v1/definitions", *_SESSION), consumes=(t.CONTROL,)),
    Reader("webhooks", (), _WEBHOOKS, stored=True),
    Reader("experiments", (), _EXPERIMENTS, consumes=(t.CONTROL,), stored=True),
    Reader("exclusion_groups", (), _GROUPS, consumes=(t.CONTROL,), stored=True),
    Reader("audit_log", (), (f"GET {_API}/audit-log",), stored=True),
    Reader("flags", (), _FLAGS, stored=True),
    Reader("prompts", (), _PROMPTS, stored=True),
    Reader("annotation_configs", (), _ANNOTATION_CONFIGS, stored=True),
    Reader("users", (), (*_USERS, *_LLM_USERS), stored=True),
    Reader("evaluation_rules", (), _RULES, consumes=(t.CONTROL,), stored=True),
    Reader("evaluated_spans", (FED["spans"], FED["span_edits"]), (f"POST {_LLM}/evaluation_rules/test",)),
    Reader("key_usage", (), _KEYS, consumes=(t.KEY_USAGE,), stored=True),
)
"""What the query service answers from."""
