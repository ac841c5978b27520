"""Columns of JSON texts, filled for a page of spans at once."""

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError

from query_api.domain.span_query.shapes import LISTS, NULL, Hole, Shape, Template
from schemas.any_value import decode
from schemas.llm_model import jsonable, openinference
from schemas.span_filter.tree import Path
from schemas.span_filter.values import descend

Indices = npt.NDArray[np.int64]
_KINDS: Final = {"\n": "text", "\x10": "boolean", "\x18": "integer", "!": "number"}
"""By the first byte of a value; anything else is an object."""
_SHAPES: Final[dict[str, Shape]] = {}
_MAX_SHAPES: Final = 10_000


@dataclass
class Column:
    """One value for each row of a page, as JSON; null where there is none."""

    texts: pa.Array
    kinds: set[str] = field(default_factory=set)
    """text, boolean, integer, number, time and object: what the values are."""


class Attributes:
    """The attributes of a page's spans, grouped by their shape."""

    def __init__(self, page: pa.Table) -> None:
        self.rows = page.num_rows
        shapes = page.column("shape").combine_chunks().dictionary_encode()
        values = page.column("values").combine_chunks()
        self._values = values.flatten()
        starts = np.asarray(values.offsets)[:-1].astype(np.int64)
        kinds = np.asarray(shapes.indices)
        self._groups: list[_Group] = []
        for number, text in enumerate(shapes.dictionary.to_pylist()):
            rows = np.flatnonzero(kinds == number).astype(np.int64)
            self._groups += self._own_words(_shape(text), rows, starts[rows])

    def everything(self) -> dict[str, Column]:
        """All columns."""
        templates = [group.shape.everything() for group in self._groups]
        names = dict.fromkeys(name for each in templates for name in each)
        return {name: self._filled(each.get(name) for each in templates) for name in names}

    def nested(self) -> Column:
        """All attributes as one object for each span."""
        return self._filled(group.shape.nested() for group in self._groups)

    def find(self, path: Path) -> Column:
        """What is at a path."""
        return self._filled(group.shape.find(path) for group in self._groups)

    def _filled(self, templates: Iterable[Template | None]) -> Column:
        places = np.full(self.rows, -1, np.int64)
        pieces, kinds, filled = [], set[str](), 0
        for group, template in zip(self._groups, templates, strict=True):
            if template is not None:
                piece, kind = group.fill(template)
                places[group.rows] = filled + np.arange(len(group.rows))
                filled += len(group.rows)
                pieces.append(piece)
                kinds |= kind
        if not pieces:
            return Column(pa.nulls(self.rows, pa.string()))
        texts = pa.concat_arrays(pieces) if len(pieces) > 1 else pieces[0]
        if len(pieces) == 1 and filled == self.rows:
            return Column(texts, kinds)
        return Column(texts.take(pa.array(places, mask=places < 0)), kinds)

    def _own_words(self, shape: Shape, rows: Indices, starts: Indices) -> Iterator["_Group"]:
        """The group itself; where spans speak another convention, groups of what that means in ours."""
        if not shape.foreign:
            yield _Group(shape, rows, starts, self._values)
            return
        translated: dict[Shape, tuple[list[int], list[str]]] = {}
        for row, start in zip(rows.tolist(), starts.tolist(), strict=True):
            raw = self._values.slice(start, len(shape.names)).to_pylist()
            found = openinference({name: _value(kind, text) for name, kind, text in zip(shape.names, shape.kinds, raw, strict=True)}, json_texts=False)
            ours = Shape(tuple(found), "".join(_kind_of(value) for value in found.values()))
            members, texts = translated.setdefault(ours, ([], []))
            members.append(row)
            texts += (orjson.dumps(value).decode() for value in found.values())
        for ours, (members, texts) in translated.items():
            size = len(ours.names)
            yield _Group(ours, np.array(members, np.int64), np.arange(len(members), dtype=np.int64) * size, pa.array(texts, pa.string()))


class _Group:
    """Spans of one shape."""

    def __init__(self, shape: Shape, rows: Indices, starts: Indices, values: pa.Array) -> None:
        self.shape = shape
        self.rows = rows
        self._starts = starts
        self._values = values
        self._taken: dict[int, pa.Array] = {}

    def fill(self, template: Template) -> tuple[pa.Array, set[str]]:
        """The template filled for every span, and what the values are."""
        match template:
            case (Hole() as hole,):
                return self._one(hole)
            case (str() as text,):
                return pa.repeat(text, len(self.rows)), {"object"}
        parts = [part if isinstance(part, str) else pc.fill_null(self._one(part)[0], "null") for part in template]
        return pc.binary_join_element_wise(*parts, ""), {"object"}

    def _one(self, hole: Hole) -> tuple[pa.Array, set[str]]:
        kind = self.shape.kinds[hole.at]
        parsed = self.shape.parsed(hole.at)
        taken = self._take(hole.at)
        if not hole.inside and not parsed and kind not in LISTS:
            return taken, {_KINDS[kind]} if kind in _KINDS else set()
        if parsed and not hole.inside:
            return mapped(taken, _said)
        read = _said if parsed else _plain if kind in LISTS else _nothing
        return mapped(taken, lambda text: descend(read(text), hole.inside))

    def _take(self, at: int) -> pa.Array:
        if at not in self._taken:
            texts = self._values.take(pa.array(self._starts + at))
            # JSON of a number that is not finite, the only one that is null.
            self._taken[at] = pc.if_else(pc.equal(texts, "null"), None, texts) if self.shape.kinds[at] == "!" else texts
        return self._taken[at]


def mapped(texts: pa.Array, change: Callable[[str], Any]) -> tuple[pa.Array, set[str]]:
    """A value made of each text, as JSON, and what they are; null where it is None."""
    values = [None if text is None else change(text) for text in texts.to_pylist()]
    kinds = {kind for value in values if value is not None for kind in (_kind_of(value),)}
    return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.string()), {_KINDS.get(kind, "object") for kind in kinds}


def _shape(text: str) -> Shape:
    found = _SHAPES.get(text)
    if found is None:
        if len(_SHAPES) >= _MAX_SHAPES:
            _SHAPES.clear()
        found = _SHAPES[text] = Shape.of(text)
    return found


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return NULL
        case bool():
            return "\x10"
        case str():
            return "\n"
        case int():
            return "\x18"
        case float():
            return "!"
    return "*"


def _value(kind: str, text: str) -> Any:
    return None if kind == NULL else _plain(text) if kind in LISTS else orjson.loads(text)


def _plain(text: str) -> Any:
    """A list, an object or bytes; None for bytes that are none of these."""
    try:
        return jsonable(decode(b64decode(text)))
    except DecodeError:
        return None


def _said(text: str) -> Any:
    """What a JSON text says; the text itself when it is none."""
    inner = orjson.loads(text)
    try:
        return orjson.loads(inner)
    except orjson.JSONDecodeError:
        return inner


def _nothing(text: str) -> Any:
    return None
