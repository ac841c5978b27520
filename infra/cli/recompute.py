"""`millstream recompute`: windows of a past range computed again from the tables."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import typer

from infra.cli.control import print_json
from infra.embedded.stack import connect
from infra.runtime.clock import SystemClock
from infra.runtime.errors import MillstreamError
from infra.runtime.producer import Place, Producer
from infra.runtime.settings import ClickHouseSettings, KafkaSettings
from query_api.readers.minutes import minutes_to_compute
from query_api.readers.rows import ClickHouseRows
from schemas.avro import Mark, encode_mark
from schemas.topics import EVALUATION_MARKS, EXPERIMENT_MARKS, TELEMETRY_MARKS, Topic
from schemas.windows import MINUTE_US

MAX_MINUTES: Final = 400 * 24 * 60
"""Most minutes with data: one mark names each of them."""
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
Kind = Literal["assignments", "cardinality", "cost", "significance", "evaluation"]
TOPICS: Final[dict[Kind, Topic]] = {
    "assignments": EXPERIMENT_MARKS,
    "significance": EXPERIMENT_MARKS,
    "cardinality": TELEMETRY_MARKS,
    "cost": TELEMETRY_MARKS,
    "evaluation": EVALUATION_MARKS,
}


def recompute(
    kind: Annotated[Kind, typer.Argument(help="What to compute again.")],
    subject: Annotated[str, typer.Argument(help="Experiment, for assignments and significance; service, for cardinality and cost; rule, for evaluation.")],
    start: Annotated[datetime, typer.Option(formats=_FORMATS, help="First minute of event time, UTC.")],
    end: Annotated[datetime | None, typer.Option(formats=_FORMATS, help="End of the range, UTC, not included; now when left out.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Tenant; the default tenant when left out.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the owner of SUBJECT to compute the windows of a range, and the cumulative one, again from the tables.

    Windows whose figures come out the same keep their revision. Assignments and significance share their marks, and so do
    cardinality and cost: asking for one renews both. The work is done by the workers; this command does not wait for it.
    """
    settings = connect()
    now_us = SystemClock().now_us()
    end_us = _us(end) if end else now_us
    start_us = _us(start) // MINUTE_US * MINUTE_US
    if end_us <= start_us:
        typer.echo("Error: the range is empty; --end must be after --start.", err=True)
        raise typer.Exit(1)
    owner = tenant or settings.default_tenant
    topic = TOPICS[kind]
    try:
        minutes = asyncio.run(_minutes(settings.clickhouse, kind, owner, subject, start_us, end_us))
        if len(minutes) > MAX_MINUTES:
            typer.echo(f"Error: {len(minutes)} minutes of the range have data, at most {MAX_MINUTES} go at once. Take a shorter range.", err=True)
            raise typer.Exit(1)
        mark = Mark(owner, subject, "", 0, -1, "", minutes, produced_at_us=now_us, reason="recompute")
        place = asyncio.run(_publish(settings.kafka, topic, mark))
    except MillstreamError as error:
        typer.echo(f"Error: {error.message}", err=True)
        raise typer.Exit(1) from error
    if json:
        print_json({"kind": kind, "tenant": owner, "subject": subject, "minutes": len(minutes), "mark": str(place)})
    else:
        typer.echo(f"Asked for {kind} of {owner}/{subject} over {len(minutes)} minutes that have data (mark {place}).")


async def _minutes(settings: ClickHouseSettings, kind: Kind, tenant: str, subject: str, start_us: int, end_us: int) -> tuple[int, ...]:
    rows = ClickHouseRows(settings)
    try:
        return await minutes_to_compute(rows, kind, tenant, subject, start_us, end_us)
    finally:
        await rows.close()


def key_of(topic: Topic, tenant: str, subject: str) -> bytes:
    """The record key, which decides the owner: the same as that of the marks of blocks."""
    return (f"{tenant}/{subject}" if topic.key == "tenant/experiment" else tenant).encode()


async def _publish(settings: KafkaSettings, topic: Topic, mark: Mark) -> Place:
    producer = Producer(settings.model_copy(update={"request_timeout_ms": 10_000}))
    await producer.start()
    try:
        return await producer.send(topic.name, encode_mark(mark), key=key_of(topic, mark.tenant, mark.subject))
    finally:
        await producer.stop()


def _us(time: datetime) -> int:
    return int(time.replace(tzinfo=UTC).timestamp()) * 1_000_000
