"""What tests of evaluation share: definitions in memory, a clock by hand, and requests without a server."""

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from infra.runtime.settings import Settings
from ingest.admission import Admission
from ingest.evaluation import EvaluationDoors
from ingest.evaluators import Evaluators
from ingest.events import EventRows
from ingest.exchange import DoorRequest, Message
from ingest.exposures import Exposures
from ingest.flag_stream import FlagStreams
from ingest.ofrep import Ofrep
from schemas.api_keys import hash_secret
from schemas.definition_kinds import ControlRecord, Definition, Experiment, Key, Role, Variant, encode_definition, kind_of
from schemas.definitions import Definitions
from schemas.flag import DefaultRule, Flag, FlagRule, Variation
from schemas.targeting import Rule
from tests.clock import HandClock

TEXT = "key-of-the-tests-0123456789"
_versions = itertools.count(1)


def define(definitions: Definitions, *given: Definition) -> None:
    """Apply definitions as the control topic would bring them."""
    for each in given:
        definitions.apply(ControlRecord(kind_of(each), each.tenant, each.id, next(_versions), False, encode_definition(each), 1))


def remove(definitions: Definitions, given: Definition) -> None:
    """Apply the removal of a definition."""
    definitions.apply(ControlRecord(kind_of(given), given.tenant, given.id, next(_versions), True, "", 1))


def key(role: Role = "member", name: str = "k1", text: str = TEXT) -> Key:
    """An API key."""
    return Key(tenant="acme", id=name, name=name, sha256=hash_secret(text), role=role)


def flag(name: str = "checkout", **values: Any) -> Flag:
    """An enabled flag that is on for premium users, off for others."""
    return Flag(
        **{
            "tenant": "acme", "id": f"flag_{name}", "key": name, "enabled": True,
            "variations": (Variation("var_on", "on", True), Variation("var_off", "off", False)),
            "rules": (FlagRule("rule_1", Rule("equals", "plan", "premium")),), "default_rule": DefaultRule(), **values,
        }
    )  # fmt: skip


def experiment(name: str = "exp_1", **values: Any) -> Experiment:
    """An active experiment with the variants on and off."""
    return Experiment(**{"tenant": "acme", "id": name, "variants": (Variant("on", id="var_1"), Variant("off", id="var_2", control=True)), **values})


class Kept:
    """Stores exposures in a list, or fails as it is told."""

    def __init__(self) -> None:
        self.rows: list[EventRows] = []
        self.failure: Exception | None = None

    async def __call__(self, rows: EventRows) -> str:
        if self.failure is not None:
            raise self.failure
        self.rows.append(rows)
        return f"events:0:{len(self.rows)}"

    @property
    def exposures(self) -> list[tuple[str, str | None, str | None]]:
        """Unit, experiment and variant of each stored exposure."""
        return [(event.user_id, event.experiment_id, event.variant) for rows in self.rows for event in rows.events]


class Platform:
    """Everything that evaluates, with nothing behind it."""

    def __init__(self, *given: Definition, heartbeat_s: float = 60.0, streams: int = 10) -> None:
        self.clock = HandClock()
        self.definitions = Definitions()
        self.kept = Kept()
        self.evaluators = Evaluators(self.definitions, self.clock)
        self.exposures = Exposures(self.kept, self.clock)
        self.streams = FlagStreams(self.definitions, self.evaluators, self.clock, heartbeat_s, streams)
        self.admission = Admission(self.definitions, Settings(), self.clock)
        self.doors = EvaluationDoors(self.evaluators, self.exposures, self.clock)
        self.ofrep = Ofrep(self.definitions, self.admission, self.evaluators, self.exposures, self.streams, self.clock)
        define(self.definitions, key(), *given)


class Wire:
    """The client's end of a connection."""

    def __init__(self, body: bytes = b"") -> None:
        self.sent: list[Message] = []
        self._body: bytes | None = body

    async def receive(self) -> Message:
        body, self._body = self._body, None
        return {"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def asked(path: str, query: bytes = b"", headers: Mapping[str, str] | None = None, wire: Wire | None = None) -> DoorRequest:
    """A request as the front hands it on."""
    authorization = {"authorization": f"Bearer {TEXT}"}
    return DoorRequest(path, authorization | dict(headers or {}), "10.0.0.1", (wire or Wire()).receive, query)
