"""An annotation: what a person, a program or a model says about a span, a trace, a session or a retrieved document.

One annotation is known by what it is about, its name and its identifier; a later one with the same replaces it. A client that names a span by
its span id alone means the span whatever its trace, so `trace_id` is part of the key where the writer knew it: span ids are unique only
within their trace, and two spans with equal ids must not replace each other's annotations.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec
import orjson
import xxhash

from schemas.global_id import IdType, global_id

Target = Literal["span", "trace", "session", "document"]
AnnotatorKind = Literal["LLM", "CODE", "HUMAN"]
Source = Literal["API", "SPAN", "RULE"]
"""API for clients, SPAN for feedback carried inside spans, RULE for online evaluation."""

ID_TYPES: Final[dict[Target, IdType]] = {
    "span": "SpanAnnotation",
    "trace": "TraceAnnotation",
    "session": "ProjectSessionAnnotation",
    "document": "DocumentAnnotation",
}
NOTE: Final = "note"
"""Name of the annotations that are notes of people."""
_SPARE_BITS = 11
"""64 bits less these are 53: the numbers that a double, and so JavaScript, holds exactly."""


def metadata_text(metadata: dict[str, Any]) -> str:
    """The JSON of metadata. Raises ValueError when it nests too deep or holds a number beyond 64 bits, so that it could not be answered again."""
    try:
        orjson.dumps([[[[metadata]]]])  # an answer nests it that deep
        return orjson.dumps(metadata).decode()
    except TypeError as error:
        raise ValueError(f"metadata cannot be stored as JSON: {error}") from error


class Key(NamedTuple):
    """What one annotation is known by within its tenant."""

    target: Target
    target_id: str
    """Span id, trace id or session id; of a document the id of the span that retrieved it."""
    position: int
    """Of a document, its place in what was retrieved, from 0; -1 for anything else."""
    name: str
    identifier: str
    trace_id: str = ""
    """Trace of the span where the writer knew it."""

    @property
    def id(self) -> str:
        """The GlobalID. Its number is the upper 53 bits of XXH3-64 (xxhash.com) over the key as a JSON array, so it is known without asking."""
        return global_id(ID_TYPES[self.target], xxhash.xxh3_64_intdigest(msgspec.json.encode(tuple(self))) >> _SPARE_BITS)


@dataclass(frozen=True)
class Annotation:
    """One annotation, as it is stored."""

    key: Key
    annotator_kind: str
    label: str | None
    score: float | None
    explanation: str | None
    source: str
    created_us: int
    """When the first one of its key was written, microseconds since the epoch."""
    updated_us: int
    """When this one was written; the newest counts."""
    metadata: dict[str, Any] = field(default_factory=dict)
    user_id: str = ""
    """Id of the user whose key it came with; empty for a program."""

    def row(self, tenant: str, *, deleted: bool = False) -> dict[str, Any]:
        """The row of the table. Raises ValueError like `metadata_text`."""
        return {
            "tenant": tenant,
            **self.key._asdict(),
            "annotator_kind": self.annotator_kind,
            "label": self.label,
            "score": self.score,
            "explanation": self.explanation,
            "metadata": metadata_text(self.metadata),
            "source": self.source,
            "user_id": self.user_id,
            "created": self.created_us,
            "updated": self.updated_us,
            "deleted": int(deleted),
        }

    @property
    def size(self) -> int:
        """Characters of its texts."""
        texts = (*self.key[1:2], *self.key[3:], self.label, self.explanation)
        return sum(len(text) for text in texts if text)
