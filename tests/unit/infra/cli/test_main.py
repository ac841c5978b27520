"""The command as a whole: what it loads, what it logs, what the small commands say."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from infra.cli.endpoint import api_key
from infra.cli.first_start import addresses
from infra.cli.main import COMMANDS, app
from infra.cli.recompute import TOPICS, key_of
from infra.cli.visitors import DEFINITIONS, EXPERIMENT, Shop
from infra.runtime.logging import HIDDEN, blank_secrets, configure_logging
from infra.runtime.settings import Settings
from infra.runtime.telemetry import otlp_door, start_telemetry
from query_api.domain.definitions import parse_documents
from tests.rules.source import ROOT

runner = CliRunner()


@pytest.fixture(autouse=True)
def defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from the environment of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("MILLSTREAM_")]:
        monkeypatch.delenv(name)


def test_help_names_every_command() -> None:
    shown = runner.invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert not [name for name in COMMANDS if name not in shown.stdout]


def test_a_worker_does_not_load_what_other_commands_need() -> None:
    """Memory and start-up: reading one command's file must not read the others'."""
    code = "import sys, infra.cli.main, infra.cli.worker; print([m for m in ('sqlalchemy', 'fastapi', 'httpx', 'rich', 'websockets') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = done.stdout.strip()
    assert "sqlalchemy" not in heavy and "fastapi" not in heavy and "websockets" not in heavy


def test_recompute_goes_to_the_owner_of_the_subject() -> None:
    assert key_of(TOPICS["significance"], "t", "exp") == b"t/exp"
    assert key_of(TOPICS["cost"], "t", "service") == b"t"


def test_recompute_refuses_an_empty_range() -> None:
    shown = runner.invoke(app, ["recompute", "cost", "shop", "--start", "2026-01-02", "--end", "2026-01-01"])
    assert shown.exit_code == 1 and "range" in shown.stderr


def test_the_key_comes_from_the_nearest_place(tmp_path: Path) -> None:
    settings = Settings().model_copy(update={"data_dir": tmp_path, "bootstrap_api_key": None})
    (tmp_path / "api_key").write_text("from-file\n")
    assert api_key(settings, "given") == "given"
    assert api_key(settings, None) == "from-file"


def test_visitors_are_untidy_but_countable() -> None:
    shop = Shop("r", rate=100, effect=0.2, seed=7)
    posted = [event for second in range(1, 61) for event in shop.step(second * 1_000_000, 1.0)]
    posted += shop.rest()
    ids = [event["id"] for event in posted]
    assert len(set(ids)) == shop.events and len(ids) - len(set(ids)) == shop.duplicates > 0
    assert shop.late > 0 and 5_900 <= shop.visitors <= 6_000
    first = {event["user_id"]: event["variant"] for event in posted if event["event_type"] == "exposure"}
    assert all(first[event["user_id"]] == event["variant"] for event in posted if "variant" in event)
    assert {event["experiment_id"] for event in posted} == {EXPERIMENT}
    again = Shop("r", rate=100, effect=0.2, seed=7)
    assert again.step(1_000_000, 1.0) == Shop("r", rate=100, effect=0.2, seed=7).step(1_000_000, 1.0)


def test_the_demo_defines_its_experiment() -> None:
    assert [each["id"] for each in parse_documents(DEFINITIONS) if each["kind"] == "experiment"] == [EXPERIMENT]


def test_addresses_name_every_surface() -> None:
    table = addresses(Settings())
    assert [str(cell) for cell in table.columns[0].cells] == [
        "platform", "experimentation", "crucible", "llm", "OTLP over HTTP", "OTLP over gRPC",
    ]  # fmt: skip


def test_logs_hide_secrets_and_speak_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert blank_secrets(None, "info", {"api_key": "ms_x", "topic": "events"}) == {"api_key": HIDDEN, "topic": "events"}
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    configured, handlers, level = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logging(Settings().model_copy(update={"log_json": True}), "ingest")
        structlog.get_logger().info("ready", password="hunter2", main=7070)
        logging.getLogger("aiokafka").error("away")
    finally:
        structlog.configure(**configured)
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
    lines = out.getvalue().splitlines()
    assert '"event": "ready"' in lines[0] and '"service": "ingest"' in lines[0] and "hunter2" not in lines[0]
    assert '"event": "away"' in lines[1] and '"level": "error"' in lines[1]


def test_own_telemetry_knows_its_door_and_can_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    settings = Settings()
    assert otlp_door(settings) == "http://127.0.0.1:4318"
    without = settings.model_copy(update={"port": settings.port.model_copy(update={"otlp_http": 0})})
    assert otlp_door(without) == "http://127.0.0.1:7070/llm"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ingest:4318/")
    assert otlp_door(settings) == "http://ingest:4318"
    start_telemetry(settings.model_copy(update={"self_telemetry": False}), "millstream-query")()
