"""The README's commands exist."""

import re
import shlex
from typing import Any

import typer.main

from infra.cli.main import app
from tests.rules.source import ROOT

_README = ROOT / "README.md"
_PAGES = [_README, *sorted((ROOT / "infra" / "docs").glob("*.md"))]


def _code_lines() -> list[str]:
    lines = []
    for page in _PAGES:
        text = page.read_text("utf-8")
        lines += [line.strip() for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
        lines += re.findall(r"`((?:millstream|make) [^`]+)`", text)
    return [line.removeprefix("$ ") for line in lines if line]


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {word for line in _code_lines() if line.startswith("make ") for word in line.split("#")[0].split()[1:] if "=" not in word}
    assert named and named <= targets


def test_millstream_commands_and_options_exist() -> None:
    root: Any = typer.main.get_command(app)
    for line in _code_lines():
        words = shlex.split(line.split(" #")[0]) if line.startswith("millstream ") else []
        command: Any = root
        context = typer.Context(root, info_name="millstream")
        for word in words[1:]:
            if hasattr(command, "list_commands"):
                if word.startswith("-"):
                    continue
                for name in word.split("|"):
                    assert command.get_command(context, name) is not None, line
                command = command.get_command(context, word.split("|")[0])
            elif word.startswith("--"):
                assert word.split("=")[0] in {option for param in command.params for option in param.opts}, line


def test_links_lead_somewhere() -> None:
    for page in _PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_has_a_sentence() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    assert set(re.findall(r"^\.PHONY: ([a-z-]+)$", text, re.MULTILINE)) == set(re.findall(r"^([a-z-]+):.*## .+$", text, re.MULTILINE))
