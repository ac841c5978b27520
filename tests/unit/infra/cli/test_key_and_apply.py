"""The commands that write definitions, as a person types them."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from infra.cli import key
from infra.cli.apply import apply

cli = typer.Typer()
cli.command()(apply)
cli.add_typer(key.app)
runner = CliRunner()

SHOP = "- {kind: tenant, id: shop}\n- {kind: metric, tenant: shop, id: bought, event_type: purchase}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLSTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("MILLSTREAM_CONTROL_URL", raising=False)
    (tmp_path / "shop.yaml").write_text(SHOP)
    return tmp_path


def test_apply_prints_the_difference_and_then_nothing_to_do(folder: Path) -> None:
    file = str(folder / "shop.yaml")
    dry = runner.invoke(cli, ["apply", file, "--dry-run"])
    assert dry.exit_code == 0 and "+ tenant shop/shop created" in dry.stdout and "--dry-run" in dry.stdout
    done = json.loads(runner.invoke(cli, ["apply", file, "--json"]).stdout)
    assert [each["action"] for each in done["definitions"]] == ["created", "created"]
    again = runner.invoke(cli, ["apply", "-"], input=SHOP)
    assert again.exit_code == 0 and again.stdout.count("unchanged") == 2


def test_apply_says_where_the_error_is(folder: Path) -> None:
    (folder / "shop.yaml").write_text("- {kind: metric, id: m, event_type: e, tenant: nobody}")
    refused = runner.invoke(cli, ["apply", str(folder / "shop.yaml")])
    assert refused.exit_code == 1 and "[0] metric m: tenant: 'nobody' is not defined" in refused.stderr
    assert runner.invoke(cli, ["apply", str(folder / "missing.yaml")]).exit_code == 1


def test_a_key_is_made_listed_and_revoked(folder: Path) -> None:
    runner.invoke(cli, ["apply", str(folder / "shop.yaml")])
    made = json.loads(runner.invoke(cli, ["key", "create", "ci", "--tenant", "shop", "--role", "ingest", "--json"]).stdout)
    assert made["key"].startswith(f"ms_{made['id']}_")
    listed = runner.invoke(cli, ["key", "list", "--json"])
    assert [(each["id"], each["valid"]) for each in json.loads(listed.stdout)] == [(made["id"], True)]
    assert made["key"] not in listed.stdout and "sha256" not in listed.stdout
    assert runner.invoke(cli, ["key", "revoke", made["id"], "--tenant", "shop"]).exit_code == 0
    assert json.loads(runner.invoke(cli, ["key", "list", "--json"]).stdout)[0]["valid"] is False
    assert made["id"] in runner.invoke(cli, ["key", "list"]).stdout
    missing = runner.invoke(cli, ["key", "revoke", "nothing"])
    assert missing.exit_code == 1 and "key list" in missing.stderr
