"""`millstream topics apply`: the broker's topics brought to the declared ones."""

from collections.abc import Sequence

import typer
from aiokafka.errors import KafkaError

from infra.cli.provisioning import Json, Yes, bring_up_to_date
from infra.embedded.stack import connect
from infra.provision import topics
from infra.provision.topics import TopicDifference
from infra.runtime.errors import MillstreamError

app = typer.Typer(name="topics", help="The topics on the broker.", no_args_is_help=True)


@app.callback()
def topics_group() -> None:
    """The topics on the broker."""


@app.command()
def apply(yes: Yes = False, json: Json = False) -> None:
    """Print what the broker lacks, ask, and create it. Nothing is ever removed; applying again changes nothing."""
    kafka = connect().kafka

    async def mend(wanted: Sequence[TopicDifference]) -> None:
        await topics.apply(kafka, list(wanted))

    def reason(error: Exception) -> str | None:
        if isinstance(error, MillstreamError):
            return error.message
        if isinstance(error, (KafkaError, OSError)):
            return f"Kafka at {kafka.bootstrap} does not answer; start it with `millstream up`. ({error})"
        return None

    bring_up_to_date(lambda: topics.differences(kafka), mend, yes=yes, json=json, complete="Every topic is as declared.", reason=reason)
