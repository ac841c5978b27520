"""Every setting of the platform, once: name, default and one sentence each.

A setting is read from the environment variable `MILLSTREAM_<SECTION>_<FIELD>` (or `MILLSTREAM_<FIELD>` for the fields
of `Settings` itself), once, at start. `infra/docs/settings.md` is generated from this file.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _section(name: str) -> SettingsConfigDict:
    return SettingsConfigDict(env_prefix=f"MILLSTREAM_{name.upper()}_", frozen=True, extra="ignore")


class KafkaSettings(BaseSettings):
    """How to reach Kafka and how the topics are laid out."""

    model_config = _section("kafka")

    bootstrap: str = Field("127.0.0.1:9092", description="Bootstrap servers, comma separated.")
    partitions: int = Field(4, ge=1, description="Partitions of each topic that is created; more partitions allow more workers.")
    replication: int = Field(1, ge=1, description="Replicas of each topic that is created; 3 on a real cluster.")
    min_insync_replicas: int = Field(1, ge=1, description="Replicas that must confirm a write before it is acknowledged; 2 of 3 on a real cluster.")
    retention_hours: int = Field(72, ge=1, description="How long raw blocks stay on the topics, and so how far back a replay can reach.")
    max_message_bytes: int = Field(41_943_040, ge=1_048_576, description="Largest record, in bytes; producer, broker and consumer use the same number.")
    request_timeout_ms: int = Field(1_800, ge=100, description="How long ingest waits for an acknowledgement before it answers 503.")
    session_timeout_s: float = Field(10.0, gt=0, description="A worker silent for this long loses its partitions.")
    rebalance_timeout_s: float = Field(20.0, gt=0, description="How long a rebalance waits for the workers to give up their partitions.")


class ClickHouseSettings(BaseSettings):
    """How to reach ClickHouse over its HTTP interface."""

    model_config = _section("clickhouse")

    url: str = Field("http://127.0.0.1:8123", description="HTTP interface of ClickHouse or of the embedded engine.")
    database: str = Field("millstream", description="Database that holds every table.")
    user: str = Field("millstream", description="User that writes and creates tables.")
    password: SecretStr = Field(SecretStr(""), description="Password of the writing user.")
    reader_user: str = Field("millstream_reader", description="Read-only user of the query service.")
    reader_password: SecretStr = Field(SecretStr(""), description="Password of the read-only user.")
    insert_timeout_s: float = Field(
        8.0, gt=0, description="Deadline of one INSERT; shorter than the Kafka session timeout, so that a fenced worker cannot write late."
    )
    read_timeout_s: float = Field(20.0, gt=0, description="Longest time a read query may run.")
    read_max_memory_bytes: int = Field(1_073_741_824, ge=1, description="Most memory a read query may take.")
    read_max_rows: int = Field(2_000_000_000, ge=1, description="Most rows a read query may scan.")
    read_threads: int = Field(
        1, ge=1, description="Threads of a read of a page. With one it costs half as much; more make reads of much data faster where cores are free."
    )
    dedup_window: int = Field(
        100_000, ge=1, description="Insert tokens each table remembers; at least twice the inserts per second times the worst replay delay in seconds."
    )
    retention_days: int = Field(90, ge=1, description="Days that raw rows are kept.")


class ControlSettings(BaseSettings):
    """The control store: definitions, keys and the outbox."""

    model_config = _section("control")

    url: str = Field("", description="SQLAlchemy URL; empty means SQLite in the data folder, postgresql+asyncpg://... for PostgreSQL.")
    outbox_poll_s: float = Field(0.2, gt=0, description="How often the outbox looks for unpublished changes.")


class IngestSettings(BaseSettings):
    """Limits and behaviour of the doors."""

    model_config = _section("ingest")

    max_body_bytes: int = Field(20_971_520, ge=1, description="Largest request body, counted after decompression; beyond it 413.")
    max_rows: int = Field(100_000, ge=1, description="Most events, spans, points or log records in one request; beyond it 413.")
    max_nesting: int = Field(64, ge=1, description="Deepest nesting of a JSON body or attribute value; beyond it 400.")
    max_in_flight_bytes: int = Field(268_435_456, ge=1, description="Bytes of requests being worked on; beyond it 503 with Retry-After, before decoding.")
    block_max_rows: int = Field(50_000, ge=1, description="Rows after which a block is closed.")
    block_max_bytes: int = Field(14_680_064, ge=1, description="Bytes after which a block is closed; below the Kafka message limit.")
    keyless_otlp_from_loopback: bool = Field(True, description="Accept OTLP without a key from this machine into the default tenant and project.")
    max_future_s: int = Field(86_400, ge=0, description="Events further ahead of the clock than this are quarantined.")
    max_past_s: int = Field(10 * 366 * 86_400, ge=0, description="Events older than this are quarantined.")
    idempotency_ttl_s: int = Field(86_400, ge=1, description="How long an Idempotency-Key is remembered.")
    redis_url: str = Field(
        "", description="Redis that ingest processes share for rate limits and Idempotency-Keys, redis://HOST:PORT/DB; empty means each counts by itself."
    )
    unknown_experiments: Literal["accept", "refuse"] = Field(
        "accept",
        description="What becomes of events that name an experiment nobody defined: accept finds experiments from the data, refuse names the closest id.",
    )
    kafka_door: bool = Field(True, description="Read otlp_spans, otlp_metrics and otlp_logs as the Collector's kafkaexporter writes them.")


class StreamSettings(BaseSettings):
    """The Faust workers."""

    model_config = _section("streams")

    app_id: str = Field("millstream", description="Consumer group of the workers.")
    computations: bool = Field(True, description="Run the four computations beside the sinks; off for a worker that only stores.")
    insert_width: int = Field(2, ge=1, description="Partitions of one topic whose blocks a worker inserts at the same time.")
    poison_attempts: int = Field(3, ge=1, description="Attempts on a block that ClickHouse refuses as malformed before it goes to the dead letters.")
    dead_letter_ratio: float = Field(0.05, gt=0, le=1, description="Share of dead letters among recent blocks beyond which the worker stops.")
    dead_letter_min: int = Field(20, ge=1, description="Recent blocks needed before the ratio is judged.")
    retry_initial_s: float = Field(0.5, gt=0, description="First pause after a failed INSERT; doubles, with 20 % jitter.")
    retry_max_s: float = Field(30.0, gt=0, description="Longest pause between attempts.")
    refresh_min_s: float = Field(0.1, ge=0, description="Shortest time between two refreshes of one subject.")
    refresh_duty: float = Field(0.1, gt=0, le=1, description="Largest share of time that the cumulative window of one subject may take.")
    eager_duty: float = Field(0.5, gt=0, le=1, description="The same for all experiments together while blocks are stored as fast as they come.")
    held_duty: float = Field(
        0.7,
        gt=0,
        le=1,
        description="The same for an experiment whose units are held in memory, so that a refresh costs no more than what came since the last one.",
    )
    keeping_up_s: float = Field(0.5, gt=0, description="How long a block may wait for its INSERT before the sinks count as behind.")
    guarded_duty: float = Field(0.5, gt=0, le=1, description="The same for running experiments that have guardrails.")
    cost_duty: float = Field(
        0.2,
        gt=0,
        le=1,
        description="The same for the cost of all services together, users and sessions left out, while blocks are stored as fast as they come.",
    )
    window_duty: float = Field(0.05, gt=0, le=1, description="Largest share of time that the other windows of one computation may take together.")


class QuerySettings(BaseSettings):
    """The query service."""

    model_config = _section("query")

    url: str = Field("http://127.0.0.1:7071", description="Where ingest forwards every request that is not a door.")
    wait_timeout_s: float = Field(10.0, gt=0, description="Longest time a read waits for a position unless the request says otherwise.")
    live_queue: int = Field(256, ge=1, description="Updates a live client may lag before states are coalesced.")
    live_heartbeat_s: float = Field(15.0, gt=0, description="Seconds between heartbeats on a live connection.")
    checkpoint_dir: Path | None = Field(
        None,
        description="Folder of the checkpoints that runs write, with a folder for each tenant, named by its id; a tenant may download what is in its own.",
    )


class WebhookSettings(BaseSettings):
    """Webhooks: where they may go and how long a receiver has."""

    model_config = _section("webhooks")

    allow_private: str = Field(
        "", description="Networks that webhooks may reach although they are not public, comma separated (`10.1.0.0/16`); empty allows none."
    )
    timeout_s: float = Field(15.0, gt=0, description="How long a receiver has to answer; later counts as a failed attempt.")
    poll_s: float = Field(0.3, gt=0, description="How often the dispatcher looks for changes and for deliveries that are due.")
    keep_days: int = Field(30, ge=1, description="Days that the log keeps deliveries that ended.")


class EvaluationSettings(BaseSettings):
    """Online evaluation: the models that judge spans."""

    model_config = _section("evaluation")

    secrets: SecretStr = Field(
        SecretStr(""),
        description='Keys of models by the name that rules use, as JSON: `{"openai": {"key": "sk-...", "base_url": "https://api.openai.com/v1"}}`; '
        "a key is sent to the host of its `base_url` only, and for the tenants in `tenants` only where that is given.",
    )
    allow_private: str = Field(
        "", description="Networks that models may be reached in although they are not public, comma separated (`10.1.0.0/16`); empty allows none."
    )
    calls_together: int = Field(16, ge=1, description="Calls of models that one worker has under way together, over all rules.")
    max_wait_s: int = Field(86_400, ge=1, description="How long a span may wait for its judge; later it counts as a failure.")


class PortSettings(BaseSettings):
    """The documented ports; 0 turns a port off."""

    model_config = _section("port")

    main: int = Field(7070, ge=0, description="Main port: every surface under its prefix and /platform/v1.")
    experimentation: int = Field(8000, ge=0, description="Experimentation surface; /experimentation on the main port.")
    crucible: int = Field(4000, ge=0, description="Crucible surface; /crucible on the main port.")
    llm: int = Field(6006, ge=0, description="LLM tracing surface; /llm on the main port.")
    otlp_http: int = Field(4318, ge=0, description="OTLP over HTTP.")
    otlp_grpc: int = Field(4317, ge=0, description="OTLP over gRPC.")
    query: int = Field(7071, ge=0, description="Query service behind the main port.")
    worker_metrics: int = Field(7072, ge=0, description="Prometheus metrics of the first worker.")


class Settings(BaseSettings):
    """All settings; build it once at start with `Settings()` and pass it down."""

    model_config = SettingsConfigDict(env_prefix="MILLSTREAM_", frozen=True, extra="ignore")

    data_dir: Path = Field(Path("data"), description="The one folder that holds all state of the embedded stack.")
    host: str = Field("127.0.0.1", description="Address the services listen on.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_json: bool = Field(False, description="Log JSON lines instead of text for people.")
    bootstrap_api_key: SecretStr | None = Field(None, description="The first API key of the default tenant; made up when absent.")
    default_tenant: str = Field("default", description="Tenant of the first key and of keyless OTLP.")
    default_project: str = Field("default", description="Project of spans that name none.")
    self_telemetry: bool = Field(True, description="Trace and meter the platform's own services into the platform.")

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    clickhouse: ClickHouseSettings = Field(default_factory=ClickHouseSettings)
    control: ControlSettings = Field(default_factory=ControlSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    streams: StreamSettings = Field(default_factory=StreamSettings)
    query: QuerySettings = Field(default_factory=QuerySettings)
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    port: PortSettings = Field(default_factory=PortSettings)

    @property
    def control_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.control.url or f"sqlite+aiosqlite:///{self.data_dir.resolve() / 'control.sqlite3'}"
