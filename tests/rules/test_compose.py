"""docker-compose.yml is well-formed, hardened, and sets what the embedded stack sets."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from infra.embedded.kafka_jars import KAFKA_VERSION
from infra.embedded.kafka_node import server_properties
from infra.runtime.settings import Settings
from schemas.api_keys import PRESET_MIN_LENGTH
from tests.rules.source import ROOT

_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT, "minItems": 1}
_PERIOD: dict[str, Any] = {"type": "string", "pattern": r"^\d+(ms|s|m|h)$"}
# The parts of the Compose specification that are used here; anything else is a slip of the pen.
_SERVICE: dict[str, Any] = {
    "type": "object",
    "required": ["image", "restart", "environment"],
    "additionalProperties": False,
    "properties": {
        "image": _TEXT,
        "build": {
            "type": "object",
            "required": ["context", "dockerfile"],
            "additionalProperties": False,
            "properties": {"context": _TEXT, "dockerfile": _TEXT},
        },
        "command": _TEXTS,
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "user": {"type": "string", "pattern": r"^\d+:\d+$"},
        "read_only": {"type": "boolean"},
        "cap_add": {"const": ["SYS_NICE"]},
        "cap_drop": _TEXTS,
        "security_opt": _TEXTS,
        "tmpfs": _TEXTS,
        "stop_grace_period": _PERIOD,
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^\$\{PUBLISH_ADDRESS:-127\.0\.0\.1\}:\d+:\d+$"}},
        "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[a-z./-]+:/[\w/.-]+(:ro)?$"}},
        "deploy": {"type": "object", "additionalProperties": False, "properties": {"replicas": {"type": "integer", "minimum": 1}}},
        "ulimits": {"type": "object"},
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["condition"],
                "additionalProperties": False,
                "properties": {"condition": {"enum": ["service_started", "service_healthy", "service_completed_successfully"]}},
            },
        },
        "healthcheck": {
            "type": "object",
            "required": ["test", "interval", "timeout", "retries"],
            "additionalProperties": False,
            "properties": {"test": _TEXTS, "interval": _PERIOD, "timeout": _PERIOD, "retries": {"type": "integer"}, "start_period": _PERIOD},
        },
    },
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name", "services", "volumes"],
    "additionalProperties": False,
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": _TEXT,
        "services": {"type": "object", "additionalProperties": _SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
    },
}
_OURS = ("ingest", "streams", "query")
_ONCE = ("topics", "tables")
_OF_THE_MACHINE = {
    *("process.roles", "node.id", "controller.quorum.voters", "listeners", "advertised.listeners", "log.dirs"),  # addresses and places
}


def _compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return found


def _services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = _compose()["services"]
    return services


def test_it_is_a_compose_file() -> None:
    jsonschema.validate(_compose(), _SCHEMA)


def test_everything_named_is_there() -> None:
    services, volumes = _services(), _compose()["volumes"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in volumes or (source.startswith("./") and (ROOT / source).exists()), f"{name}: {volume}"
        for condition in [each["condition"] for each in service.get("depends_on", {}).values()]:
            assert condition != "service_started"
    assert (ROOT / services["ingest"]["build"]["dockerfile"]).exists()


def test_every_long_running_service_has_a_health_check() -> None:
    assert not [name for name, service in _services().items() if name not in _ONCE and "healthcheck" not in service]


def test_our_services_run_hardened_from_one_image() -> None:
    services = _services()
    for name in (*_OURS, *_ONCE):
        service = services[name]
        assert service["image"] == services["ingest"]["image"]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and service["tmpfs"], name
        assert not service["user"].startswith("0:"), name
    assert "ports" not in services["streams"], "a fixed port would keep the workers from being scaled"


def test_the_image_runs_as_another_user_than_root() -> None:
    lines = (ROOT / "infra" / "deploy" / "Dockerfile").read_text("utf-8").splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users and users[-1] not in ("root", "0")
    assert f"--uid {_services()['ingest']['user'].split(':')[0]} " in "\n".join(lines)
    assert any("--require-hashes" in line for line in lines)


def test_the_image_has_every_package() -> None:
    text = (ROOT / "infra" / "deploy" / "Dockerfile").read_text("utf-8")
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert copied == packages
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert let_in == packages | {"requirements.lock"}


def test_kafka_is_set_up_as_the_embedded_one() -> None:
    embedded = dict(line.split("=", 1) for line in server_properties(Settings().kafka, Path("/"), 9092, 9093).splitlines())
    composed = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in _services()["kafka"]["environment"].items() if name.startswith("KAFKA_")
    }
    assert set(composed) <= set(embedded), "not set in the embedded stack"
    different = {name: (value, embedded[name]) for name, value in composed.items() if name not in _OF_THE_MACHINE and value != embedded[name]}
    assert not different
    assert {"message.max.bytes", "auto.create.topics.enable", "log.retention.hours", "min.insync.replicas"} <= set(composed)
    assert _services()["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_clickhouse_limits_readers_as_the_embedded_one() -> None:
    root = ElementTree.parse(ROOT / "infra" / "deploy" / "clickhouse-users.xml").getroot()
    settings = Settings().clickhouse
    profile = root.find(f"profiles/{settings.reader_user}")
    assert profile is not None
    limits = {"max_execution_time": settings.read_timeout_s, "max_memory_usage": settings.read_max_memory_bytes, "max_rows_to_read": settings.read_max_rows}
    for name, limit in limits.items():
        assert float(profile.findtext(name, "")) == limit, name
        assert float(profile.findtext(f"constraints/{name}/max", "")) == limit, name
    assert root.find(f"users/{settings.user}") is not None
    assert root.findtext(f"users/{settings.reader_user}/profile") == settings.reader_user
    assert [grant.text for grant in root.findall(f"users/{settings.reader_user}/grants/query")] == [f"GRANT SELECT ON {settings.database}.*"]
    assert _services()["clickhouse"]["environment"]["CLICKHOUSE_DB"] == settings.database


def test_the_services_find_each_other() -> None:
    settings, services = Settings(), _services()
    for name in (*_OURS, *_ONCE):
        environment = services[name]["environment"]
        assert environment["MILLSTREAM_KAFKA_BOOTSTRAP"] == services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].removeprefix("PLAINTEXT://")
        assert environment["MILLSTREAM_CLICKHOUSE_URL"] == "http://clickhouse:8123"
        assert environment["MILLSTREAM_QUERY_URL"] == f"http://query:{settings.port.query}"
        # Behind a proxy of the machine every client looks like one on it.
        assert environment["MILLSTREAM_INGEST_KEYLESS_OTLP_FROM_LOOPBACK"] == "false"
    port = settings.port
    published = {int(each.rpartition(":")[2]) for each in services["ingest"]["ports"]}
    assert published == {port.main, port.experimentation, port.crucible, port.llm, port.otlp_http, port.otlp_grpc}
    assert f":{port.worker_metrics}/metrics" in services["streams"]["healthcheck"]["test"][-1]


def test_no_key_is_preset() -> None:
    """Whoever starts the services must choose a key; a default one would open every installation."""
    assert _services()["ingest"]["environment"]["MILLSTREAM_BOOTSTRAP_API_KEY"].startswith("${MILLSTREAM_BOOTSTRAP_API_KEY:?")
    assert PRESET_MIN_LENGTH <= 48, "the length of the key that the file's head line makes"
