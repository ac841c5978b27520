"""A query over spans as clients send it, understood: what is selected, filtered, exploded, joined, renamed and made the index."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra.runtime.errors import ValidationFailed
from schemas.span_filter.parser import parse, parse_reference
from schemas.span_filter.source import FilterError
from schemas.span_filter.tree import Attribute, Condition, Field, Path, Result

SPAN_ID: Final = "context.span_id"
_LABELS: Final = {"span_id": SPAN_ID, "trace_id": "context.trace_id"}
"""How columns of these names are called in every answer."""
_POSITIONS: Final = {"retrieval.documents": "document_position"}
MAX_COLUMNS: Final = 1_000
"""Most columns one query may select."""

Reference = Field | Attribute | Result
EVENTS: Final = Attribute(("events",))
EVERYTHING: Final = Attribute(("attributes",))


@dataclass(frozen=True)
class Listed:
    """A list in every span, and what is taken of its items: paths inside them by column; of an item without paths everything."""

    path: Path
    columns: Mapping[str, Path] = field(default_factory=dict)
    separator: str = "\n\n"


@dataclass(frozen=True)
class SpanQuery:
    """What a client asks for."""

    condition: Condition | None = None
    select: Mapping[str, Reference] = field(default_factory=dict)
    """By column. Nothing selected, exploded or joined: all columns there are."""
    explode: Listed | None = None
    """One row for each item."""
    concat: Listed | None = None
    """The texts of the items as one."""
    rename: Mapping[str, str] = field(default_factory=dict)
    index: str = SPAN_ID
    index_of: Reference = Field("span_id", "text")
    position: str = "position"
    """Name of the second level of the index when exploded."""

    @property
    def everything(self) -> bool:
        """Whether all columns are asked for."""
        return not (self.select or self.explode or self.concat)


def understood(sent: Mapping[str, Any]) -> SpanQuery:
    """The query a client sent, as decoded from JSON. Raises ValidationFailed with the position in the text that cannot be understood."""
    select = {_label(name): _reference(f"select of {name}", _key(of, name)) for name, of in _object(sent, "select").items()}
    condition = _text(_object(sent, "filter"), "condition")
    explode, concat = _object(sent, "explode"), _object(sent, "concat")
    index = _label(_text(explode, "primary_index_key") or _text(_object(sent, "index"), "key") or SPAN_ID)
    listed = _listed("explode", explode)
    if len(select) > MAX_COLUMNS:
        raise ValidationFailed(f"Invalid query: {len(select)} columns are selected; {MAX_COLUMNS} is the most")
    return SpanQuery(
        condition=_condition(condition),
        select=select,
        explode=listed,
        concat=_listed("concat", concat),
        rename={_label(name): _name("rename", new) for name, new in _object(sent, "rename").items()},
        index=index,
        index_of=select.get(index) or _reference("index", index),
        position=_POSITIONS.get(".".join(str(step) for step in listed.path), "position") if listed else "position",
    )


def _condition(text: str) -> Condition | None:
    if not text.strip():
        return None
    try:
        return parse(text)
    except FilterError as error:
        raise ValidationFailed(f"Invalid filter condition at {error}") from None


def _reference(where: str, text: str) -> Reference:
    try:
        if text in ("attributes", "events"):
            return EVERYTHING if text == "attributes" else EVENTS
        return parse_reference(text)
    except FilterError as error:
        raise ValidationFailed(f"Invalid query: {where}, {error}") from None


def _listed(where: str, sent: Mapping[str, Any]) -> Listed | None:
    key = _text(sent, "key")
    if not key:
        return None
    found = _reference(where, key.removeprefix("attributes."))
    if not isinstance(found, Attribute):
        raise ValidationFailed(f"Invalid query: {where}, {key} is no list; name an attribute such as retrieval.documents")
    paths = {_label(name): tuple(_name(f"{where} of {name}", path).split(".")) for name, path in _object(sent, "kwargs").items()}
    separator = sent.get("separator", "\n\n")
    return Listed(found.path, paths, _name(f"separator of {where}", separator))


def _object(sent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = sent.get(name) or {}
    if not isinstance(value, Mapping):
        raise ValidationFailed(f"Invalid query: {name} must be an object")
    return value


def _text(sent: Mapping[str, Any], name: str) -> str:
    return _name(name, sent.get(name) or "")


def _name(where: str, value: Any) -> str:
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValidationFailed(f"Invalid query: {where} must be a text")
    return value


def _key(of: Any, name: str) -> str:
    return _name(f"select of {name}", of.get("key") if isinstance(of, Mapping) else of) or name


def _label(name: Any) -> str:
    text = _name("a column", name)
    return _LABELS.get(text, text)
