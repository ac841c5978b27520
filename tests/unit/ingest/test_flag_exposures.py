"""Flag evaluations in OTLP requests become exposure events: which of them, with what fields, and stored before the answer."""

import json
from typing import Any

import pyarrow as pa
import pytest
from aiokafka import ConsumerRecord
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infra.runtime.errors import Unavailable
from infra.runtime.settings import Settings
from ingest.kafka_bridge import KafkaBridge
from ingest.otlp_http import OtlpHttpDoor
from ingest.otlp_read import RECORDS, TRACES
from schemas.definition_kinds import ControlRecord, Definition, Experiment, Variant, encode_definition, kind_of
from schemas.definitions import Definitions
from schemas.flag import Flag, Variation
from tests.unit.ingest.otlp_support import NOW_NS, Published, door_request, lanes

ARMS = (Variant("control"), Variant("treatment"))


@pytest.fixture
def definitions() -> Definitions:
    found = Definitions()
    sides = (Variation("v1", "treatment", True), Variation("v2", "control", False))
    given: tuple[Definition, ...] = (
        Experiment("acme", "checkout", variants=ARMS, overrides={"tester": "treatment"}),
        Experiment("acme", "open"),
        Flag("acme", "f1", "new-checkout", variations=sides, experiment="checkout"),
        Flag("acme", "f2", "plain", variations=sides),
        Flag("acme", "f3", "dangling", variations=sides, experiment="gone"),
    )
    for each in given:
        found.apply(ControlRecord(kind_of(each), "acme", each.id, 1, False, encode_definition(each), 0))
    return found


@pytest.fixture
def published() -> Published:
    return Published()


def evaluation(**fields: str) -> dict[str, str]:
    """Attributes of an evaluation; names without `feature_flag.`, with `_` for a dot."""
    given = {"key": "new-checkout", "context_id": "u1", "result_variant": "treatment", "result_reason": "split", **fields}
    return {"error.type" if name == "error_type" else f"feature_flag.{name.replace('_', '.')}": value for name, value in given.items() if value}


def logs(*records: dict[str, str], at: int = NOW_NS, by_attribute: bool = False) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for number, attributes in enumerate(records):
        record = scope.log_records.add(time_unix_nano=at + number * 1_000 if at else 0, event_name="" if by_attribute else "feature_flag.evaluation")
        for name, value in (attributes | ({"event.name": "feature_flag.evaluation"} if by_attribute else {})).items():
            record.attributes.add(key=name).value.string_value = value
    return request


def spans(*events: dict[str, str]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=NOW_NS)
    for number, attributes in enumerate(events):
        event = span.events.add(name="feature_flag.evaluation", time_unix_nano=NOW_NS + number * 1_000)
        for name, value in attributes.items():
            event.attributes.add(key=name).value.string_value = value
    return request


def exposures(published: Published) -> list[dict[str, Any]]:
    """The rows on the events topic."""
    rows: list[dict[str, Any]] = []
    for block in published.blocks:
        if block.topic.name == "events":
            with pa.ipc.open_stream(block.body) as reader:
                rows += reader.read_all().to_pylist()
    return rows


async def store(published: Published, definitions: Definitions, request: Any, signal: Any = RECORDS) -> tuple[Any, str]:
    return await lanes(published, definitions=definitions).store(signal, request.SerializeToString(), "acme")


@pytest.mark.parametrize("by_attribute", [False, True])
async def test_an_evaluation_in_a_log_is_an_exposure(published: Published, definitions: Definitions, by_attribute: bool) -> None:
    given = evaluation(set_id="web", version="3", provider_name="ofrep")
    reading, position = await store(published, definitions, logs(given, by_attribute=by_attribute))
    (row,) = exposures(published)
    assert row.pop("time").timestamp() == NOW_NS // 1_000 / 1e6 and row.pop("received") and row.pop("event_id").startswith("flag_")
    assert json.loads(row.pop("metadata")) == {"flag": "new-checkout", "flag_set": "web", "reason": "split", "flag_version": "3", "provider": "ofrep"}
    assert row == {
        "tenant": "acme", "experiment": "checkout", "unit": "u1", "event_type": "exposure", "variant": "treatment", "keyed": 1, "sdk": "opentelemetry",
        "source": "otlp", "quarantined": 0, "extra": "",
    }  # fmt: skip
    assert reading.refused == 0 and reading.reason == "" and sorted(part.partition(":")[0] for part in position.split(",")) == ["events", "logs"]
    assert {touched.subject for block in published.blocks if block.topic.name == "events" for touched in block.touched} == {"checkout"}


async def test_former_names_of_attributes_are_understood(published: Published, definitions: Definitions) -> None:
    given = {"key": "new-checkout", "context.id": "u1", "variant": "control", "evaluation.reason": "split", "provider_name": "p"}
    fixed = given | {"context.id": "u2", "evaluation.reason": "static"}
    await store(published, definitions, logs(*({f"feature_flag.{name}": value for name, value in each.items()} for each in (given, fixed))))
    (row,) = exposures(published)
    assert (row["unit"], row["variant"], json.loads(row["metadata"])["provider"]) == ("u1", "control", "p")


async def test_an_evaluation_on_a_span_is_an_exposure(published: Published, definitions: Definitions) -> None:
    await store(published, definitions, spans(evaluation(), evaluation(context_id="u2", result_variant="control")), TRACES)
    assert [(row["unit"], row["variant"]) for row in exposures(published)] == [("u1", "treatment"), ("u2", "control")]


async def test_a_retry_has_the_same_id_and_another_evaluation_has_not(published: Published, definitions: Definitions) -> None:
    for request in (logs(evaluation()), logs(evaluation()), logs(evaluation(), at=NOW_NS + 1), logs(evaluation(context_id="u2"))):
        await store(published, definitions, request)
    await store(published, definitions, logs(evaluation(), at=0))
    await store(published, definitions, logs(evaluation(), at=0))
    ids = [row["event_id"] for row in exposures(published)]
    assert ids[0] == ids[1] and ids[4] == ids[5] and len(set(ids)) == 4


@pytest.mark.parametrize(
    ("fields", "experiment"),
    [
        ({"key": "open", "result_variant": "anything"}, "open"),
        ({"key": "checkout"}, "checkout"),
        ({"key": "checkout", "result_reason": "targeting_match"}, "checkout"),
        ({"key": "checkout", "result_reason": "static"}, None),
        ({"key": "checkout", "result_reason": "default"}, None),
        ({"result_reason": ""}, "checkout"),
        ({"result_reason": "CACHED"}, "checkout"),
        ({"result_reason": "targeting_match"}, None),
        ({"result_reason": "static"}, None),
        ({"result_reason": "disabled"}, None),
        ({"error_type": "general"}, None),
        ({"context_id": "tester"}, None),
        ({"key": "plain"}, None),
        ({"key": "dangling"}, None),
        ({"key": "unheard-of"}, None),
        ({"key": ""}, None),
    ],
)
async def test_what_counts(published: Published, definitions: Definitions, fields: dict[str, str], experiment: str | None) -> None:
    reading, _ = await store(published, definitions, logs(evaluation(**fields)))
    assert [row["experiment"] for row in exposures(published)] == ([experiment] if experiment else [])
    assert reading.part and reading.part.rows == 1 and reading.reason == "", "the log itself is stored in any case"


@pytest.mark.parametrize(
    ("fields", "hint"), [({"context_id": ""}, "targeting key"), ({"result_variant": ""}, "is missing"), ({"result_variant": "blue"}, "control, treatment")]
)
async def test_what_should_have_counted_is_a_warning_to_the_exporter(published: Published, definitions: Definitions, fields: dict[str, str], hint: str) -> None:
    door = OtlpHttpDoor(lanes(published, definitions=definitions), Settings())
    request = logs(evaluation(**fields), evaluation(**fields), evaluation(context_id="u9"))
    answer = await door.handle(door_request("/v1/logs"), "acme", request.SerializeToString(), None)
    partial = ExportLogsServiceResponse.FromString(answer.body).partial_success
    assert answer.status == 200 and partial.rejected_log_records == 0 and hint in partial.error_message and partial.error_message.count("new-checkout") == 1
    assert [row["unit"] for row in exposures(published)] == ["u9"]


async def test_json_is_read_alike(published: Published, definitions: Definitions) -> None:
    attributes = [{"key": name, "value": {"stringValue": value}} for name, value in evaluation().items()]
    record = {"timeUnixNano": str(NOW_NS), "eventName": "feature_flag.evaluation", "attributes": attributes}
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()
    door = OtlpHttpDoor(lanes(published, definitions=definitions), Settings())
    answer = await door.handle(door_request("/v1/logs", "application/json"), "acme", body, None)
    assert (answer.status, answer.body) == (200, b"{}") and answer.headers["X-Millstream-Position"].count(":") == 4
    await store(published, definitions, logs(evaluation()))
    assert len({row["event_id"] for row in exposures(published)}) == 1


async def test_nothing_is_acknowledged_unless_both_are_stored(definitions: Definitions) -> None:
    for refused in ("events", "logs"):

        class Half(Published):
            async def publish(self, block: Any, refused: str = refused) -> str:
                if block.topic.name == refused:
                    raise Unavailable("away", retry_after_s=1)
                return await super().publish(block)

        with pytest.raises(Unavailable):
            await store(Half(), definitions, logs(evaluation()))


async def test_the_kafka_door_takes_them_too(published: Published, definitions: Definitions) -> None:
    publisher: Any = published
    settings = Settings(default_tenant="acme")
    value = logs(evaluation()).SerializeToString()
    bridge = KafkaBridge(settings, publisher, lanes(published, settings, definitions))
    for _ in range(2):
        await bridge.take(ConsumerRecord("otlp_logs", 0, 7, 0, 0, None, value, None, 0, len(value), ()))
    assert (
        len({row["event_id"] for row in exposures(published)}) == 1 and len({block.batch_id for block in published.blocks if block.topic.name == "logs"}) == 1
    )


async def test_another_tenants_flags_mean_nothing(published: Published, definitions: Definitions) -> None:
    await lanes(published, definitions=definitions).store(RECORDS, logs(evaluation()).SerializeToString(), "other")
    assert not exposures(published)
