"""What is missing is shown, asked about and created; what a person has to mend is said by the exit status."""

import json
from collections.abc import Sequence

import pytest
import typer
from typer.testing import CliRunner

from infra.cli.provisioning import Json, Yes, bring_up_to_date

runner = CliRunner()


class Store:
    """Lacks some things; those in capitals nobody can create."""

    def __init__(self, *lacks: str, away: Exception | None = None) -> None:
        self.lacks = list(lacks)
        self.away = away
        self.app = typer.Typer()

        @self.app.command()
        def apply(yes: Yes = False, json: Json = False) -> None:
            bring_up_to_date(
                self._differences,
                self._apply,
                yes=yes,
                json=json,
                complete="Nothing is missing.",
                reason=lambda error: "the store is away" if isinstance(error, OSError) else None,
                mendable=str.islower,
            )

    async def _differences(self) -> list[str]:
        if self.away:
            raise self.away
        return list(self.lacks)

    async def _apply(self, wanted: Sequence[str]) -> None:
        self.lacks = [each for each in self.lacks if each not in wanted]


def test_it_asks_before_it_changes_anything() -> None:
    store = Store("a", "b")
    refused = runner.invoke(store.app, [], input="n\n")
    assert refused.exit_code == 1 and "+ a\n+ b\n" in refused.stdout and store.lacks == ["a", "b"]
    agreed = runner.invoke(store.app, [], input="y\n")
    assert agreed.exit_code == 0 and agreed.stdout.endswith("Done.\n") and store.lacks == []
    assert runner.invoke(store.app, []).stdout == "Nothing is missing.\n"


def test_yes_does_not_ask_and_json_changes_only_with_it() -> None:
    store = Store("a")
    shown = runner.invoke(store.app, ["--json"])
    assert json.loads(shown.stdout) == {"applied": False, "differences": ["a"]} and store.lacks == ["a"]
    done = runner.invoke(store.app, ["--json", "--yes"])
    assert json.loads(done.stdout) == {"applied": True, "differences": ["a"]} and store.lacks == []


def test_what_only_a_person_can_mend_is_left_and_said() -> None:
    store = Store("a", "B")
    done = runner.invoke(store.app, ["--yes"])
    assert done.exit_code == 1 and "! B" in done.stdout and store.lacks == ["B"]


def test_an_expected_error_is_put_into_words_and_a_defect_is_not() -> None:
    away = runner.invoke(Store(away=OSError("refused")).app, [])
    assert (away.exit_code, away.stderr) == (1, "Error: the store is away\n")
    with pytest.raises(ZeroDivisionError):
        runner.invoke(Store(away=ZeroDivisionError()).app, [], catch_exceptions=False)
