"""How the attributes of a span become columns: decided once for all spans that have the same attributes of the same types.

Spans of one program look alike, so what a column is made of is a template with holes for values, worked out once and then filled for all of
them in one go. Numbered attributes make lists of objects (`llm.input_messages.0.message.role`). Among all columns a name of the conventions
is one key, and of any other name the first part is the column and the rest nests below it; selected values nest at every dot.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from schemas.openinference import LEAVES, NAMES, holds_json, sources
from schemas.span_filter.tree import Path
from schemas.span_filter.values import dotted

LISTS: Final = "*2:"
"""First bytes of values that are lists, objects and bytes."""
NULL: Final = "0"


class Hole(NamedTuple):
    """A value by its place among the span's attributes, and the way inside it."""

    at: int
    inside: Path = ()


Template = Sequence[str | Hole]
"""JSON text with holes."""


@dataclass
class _Node:
    value: int | None = None
    below: dict[str, "_Node"] = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """Names and types of the attributes of some spans."""

    names: tuple[str, ...]
    kinds: str
    """First byte of each value, `NULL` for none."""

    @classmethod
    def of(cls, text: str) -> "Shape":
        """From what the reader gives: the names as a JSON list and the kinds behind it, one character each."""
        cut = text.rindex("]") + 1
        return cls(tuple(orjson.loads(text[:cut])), text[cut:])

    @property
    def foreign(self) -> bool:
        """Whether attributes of other conventions are among them, which have to be translated first."""
        return any(name.startswith(("gen_ai.", "enduser.")) for name in self.names)

    def everything(self) -> dict[str, Template]:
        """All columns by name."""
        tree = _tree(self._present(), _conventions)
        return {name: tuple(_merged(_written(node))) for name, node in _flattened(tree)}

    def nested(self) -> Template:
        """All attributes as one object."""
        return tuple(_merged(_written(_tree(self._present(), _dots))))

    def find(self, path: Path) -> Template | None:
        """What is at a path, as `schemas.span_filter.values.at` finds it; None when nothing is."""
        name = dotted(path)
        stored = dict(self._present())
        for source in sources(name):
            if source in stored:
                return (Hole(stored[source]),)
        if name in LEAVES:
            return None
        for length in range(len(path) - 1, 0, -1):
            prefix = dotted(path[:length])
            if prefix in stored:
                return (Hole(stored[prefix], path[length:]),)
        below = [(key.removeprefix(f"{name}."), at) for key, at in stored.items() if key.startswith(f"{name}.")]
        return tuple(_merged(_written(_tree(below, _dots)))) if below else None

    def parsed(self, at: int) -> bool:
        """Whether the value at this place is JSON text that stands for what it says."""
        return self.kinds[at] == "\n" and holds_json(self.names[at])

    def _present(self) -> Iterator[tuple[str, int]]:
        return ((name, at) for at, name in enumerate(self.names) if self.kinds[at] != NULL)


@lru_cache(maxsize=65_536)
def _conventions(name: str) -> tuple[str, ...]:
    """The name cut where the conventions cut it: `llm.tools.0.tool.json_schema` at the number, any other name at its first dot."""
    steps: list[str] = []
    parts = name.split(".")
    while parts:
        length = next((size for size in range(len(parts), 0, -1) if ".".join(parts[:size]) in NAMES), 1)
        steps.append(".".join(parts[:length]))
        parts = parts[length:]
    return tuple(steps)


def _dots(name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def _tree(present: Iterator[tuple[str, int]] | Sequence[tuple[str, int]], cut: Callable[[str], Sequence[str]]) -> _Node:
    root = _Node()
    for name, at in present:
        node = root
        for step in cut(name):
            node = node.below.setdefault(step, _Node())
        node.value = at
    return root


def _flattened(node: _Node, prefix: str = "") -> Iterator[tuple[str, _Node]]:
    """What is directly below; a node that has a value and more below it makes longer names for that."""
    for step, child in node.below.items():
        name = f"{prefix}{step}"
        if child.value is not None:
            yield name, _Node(child.value)
            yield from _flattened(_Node(below=child.below), f"{name}.")
        else:
            yield name, child


def _written(node: _Node) -> Iterator[str | Hole]:
    if node.value is not None:
        yield Hole(node.value)
        return
    numbered = all(step.isdecimal() and child.below and child.value is None for step, child in node.below.items())
    if numbered and node.below:
        yield "["
        for number, (_, child) in enumerate(sorted(node.below.items(), key=lambda item: int(item[0]))):
            yield "," if number else ""
            yield from _written(child)
        yield "]"
        return
    yield "{"
    for number, (name, child) in enumerate(_flattened(node)):
        yield f"{',' if number else ''}{orjson.dumps(name).decode()}:"
        yield from _written(child)
    yield "}"


def _merged(parts: Iterator[str | Hole]) -> Iterator[str | Hole]:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        else:
            if text:
                yield text
            yield part
            text = ""
    if text:
        yield text
