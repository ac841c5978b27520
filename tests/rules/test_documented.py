"""What a person can set, see or call is documented, and the documents are those of this code."""

import re
from typing import Any

import pytest
import typer.main

from infra.cli.main import COMMANDS, app
from infra.docs.command_line import leaves
from infra.docs.generate import FOLDER, PAGES
from infra.runtime.errors import KINDS, MillstreamError
from infra.runtime.metric_names import METRICS
from infra.runtime.settings import Settings
from schemas.tables.catalog import TABLES
from schemas.topics import TOPICS
from tests.rules.source import ROOT, modules, texts


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_those_of_this_code(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == PAGES[name](), "run `make docs`"


def _commands() -> list[tuple[tuple[str, ...], Any]]:
    root: Any = typer.main.get_command(app)
    return leaves(root, typer.Context(root, info_name="millstream"), ())


def test_every_command_is_documented_and_helps() -> None:
    page = (FOLDER / "cli.md").read_text("utf-8")
    commands = _commands()
    assert {path[0] for path, _ in commands} == set(COMMANDS)
    for path, command in commands:
        assert f"\n## millstream {' '.join(path)}\n" in page
        assert command.help, path
        assert not [param.name for param in command.params if param.name != "help" and not getattr(param, "help", "")], path


def test_every_setting_has_a_sentence_and_is_documented() -> None:
    page = (FOLDER / "settings.md").read_text("utf-8")
    for name, value in Settings().model_dump().items():
        section = Settings.model_fields[name]
        fields = {f"MILLSTREAM_{name.upper()}_{inner.upper()}" for inner in value} if isinstance(value, dict) else {f"MILLSTREAM_{name.upper()}"}
        assert isinstance(value, dict) or section.description, name
        assert not {field for field in fields if f"| `{field}` |" not in page}
    assert not re.findall(r"^\| `MILLSTREAM_\w+` \| [^|]* \|\s*\|$", page, re.MULTILINE), "a setting without a sentence"


def test_variables_named_anywhere_exist() -> None:
    known = set(re.findall(r"`(MILLSTREAM_\w+)`", (FOLDER / "settings.md").read_text("utf-8"))) | {"MILLSTREAM_API_KEY"}
    named = set()
    for path in [ROOT / "README.md", ROOT / "docker-compose.yml", *FOLDER.rglob("*.md")]:
        named |= set(re.findall(r"\bMILLSTREAM_[A-Z0-9_]*[A-Z0-9]\b(?!_?\*)", path.read_text("utf-8")))
    assert not {name for name in named if name not in known and not any(each.startswith(name) for each in known)}


def test_every_metric_error_topic_and_table_is_documented() -> None:
    pages = {name: (FOLDER / name).read_text("utf-8") for name in PAGES}
    assert not [name for name in METRICS if f"`{name}`" not in pages["metrics.md"]]
    assert not [code for code in KINDS if f"`{code}`" not in pages["errors.md"]]
    assert not [topic.name for topic in TOPICS if f"`{topic.name}`" not in pages["topics.md"]]
    for table in TABLES:
        assert f"\n## {table.name}\n" in pages["tables.md"]
        assert not [column.name for column in table.all_columns if not column.meaning], table.name


def test_every_error_has_a_kind() -> None:
    raised = {error.code for error in _all_errors(MillstreamError)}
    assert raised <= set(KINDS)


def test_metrics_are_only_made_from_the_declared_list() -> None:
    """A metric that bypasses the list would be undocumented; prometheus_client is used by the list and its exposition only."""
    used = {text for path in modules("infra", "ingest", "query_api", "streams") for _, text in texts(path) if re.fullmatch(r"millstream_[a-z_]+", text)}
    assert {name for name in used if name.startswith(("millstream_ingest", "millstream_streams", "millstream_query", "millstream_live"))} <= set(METRICS)


def _all_errors(root: type[MillstreamError]) -> set[type[MillstreamError]]:
    return {root}.union(*(_all_errors(child) for child in root.__subclasses__()))
