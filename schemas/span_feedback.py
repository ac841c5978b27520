"""Feedback that programs record inside spans and log records, as annotations.

Read are the forms of OpenInference's "Annotations and Evaluations" (spec/annotations.md): `annotations.N.annotation.*`, with `trace.` or
`session.` in front for those scopes, the same with "evaluation" for "annotation", and the event `gen_ai.evaluation.result` of OpenTelemetry's
conventions for generative AI, on a span or as a log record. A span with exactly one link carries feedback for the span, or the trace, that
the link names; any other span is itself what the feedback is about.

What becomes of a span follows from the span alone: its feedback dates from its end, so the same span sent again changes nothing, and an
annotation that somebody corrects afterwards stays corrected.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, NamedTuple

import orjson

from schemas.annotation import Annotation, Key, Target, metadata_text
from schemas.any_value import Value, typed

EVENT: Final = "gen_ai.evaluation.result"
MAX_TEXT: Final = 1_000
"""Characters of a name or an identifier."""
_MARK = b"ation.name"
"""Both terms and the event need a name, and no other attribute in common use ends so: one search of the bytes finds them all."""
_FIELD = re.compile(r"(?:(trace|session)\.)?(annotation|evaluation)s\.(\d{1,6})\.(?:\2)\.(name|score|label|explanation|annotator_kind|identifier|metadata)")
_OF_EVENT: Final = {
    "gen_ai.evaluation.name": "name",
    "gen_ai.evaluation.score.value": "score",
    "gen_ai.evaluation.score.label": "label",
    "gen_ai.evaluation.explanation": "explanation",
}
_SESSIONS = ("session.id", "gen_ai.conversation.id")
_KINDS = ("LLM", "CODE", "HUMAN")


class Feedback(NamedTuple):
    """What was found."""

    annotations: list[Annotation]
    faults: list[str]
    """What could not become an annotation, and why; it stays what it is, attributes of a stored span."""


@dataclass(frozen=True)
class _Place:
    """What the feedback of one span or record may be about."""

    own: str
    """The carrier, in words."""
    span_id: str
    trace_id: str
    session_id: str
    at_us: int

    def key(self, scope: str, name: str, identifier: str) -> Key | None:
        """None without a session."""
        targets: dict[str, tuple[Target, str, str]] = {
            "": ("span", self.span_id, self.trace_id),
            "trace": ("trace", self.trace_id, ""),
            "session": ("session", self.session_id, ""),
        }
        target, target_id, trace_id = targets[scope]
        return Key(target, target_id, -1, name, identifier, trace_id) if target_id else None


def may_carry(body: bytes) -> bool:
    """Whether a protobuf request may hold feedback: a search of its bytes, so that requests without any pay no more than that."""
    return _MARK in body


def feedback_of(spans: Iterable[Any], now_us: int) -> Feedback:
    """The feedback in OTLP spans, whose ids must be sound."""
    found = Feedback([], [])
    for span in spans:
        items = [*_numbered(span.attributes), *(("", _event(event.attributes)) for event in span.events if event.name == EVENT)]
        if items:
            _add(found, _place(span, now_us), items)
    return found


def feedback_of_spans(request: Any, now_us: int) -> Feedback:
    """The same for an ExportTraceServiceRequest."""
    return feedback_of((span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans), now_us)


def feedback_of_logs(request: Any, now_us: int) -> Feedback:
    """The same for an ExportLogsServiceRequest. Records outside a span say nothing about one."""
    found = Feedback([], [])
    for group in request.resource_logs:
        for scope in group.scope_logs:
            for record in scope.log_records:
                if record.event_name == EVENT and record.span_id and record.trace_id:
                    at_us = (record.time_unix_nano or record.observed_time_unix_nano or now_us * 1_000) // 1_000
                    place = _Place(f"log record of span {record.span_id.hex()}", record.span_id.hex(), record.trace_id.hex(), "", min(at_us, now_us))
                    _add(found, place, [("", _event(record.attributes))])
    return found


def _place(span: Any, now_us: int) -> _Place:
    target = span.links[0] if len(span.links) == 1 and len(span.links[0].trace_id) == 16 and len(span.links[0].span_id) == 8 else span
    sessions = {each.key: each.value.string_value for each in span.attributes if each.key in _SESSIONS}
    session = next((sessions[name] for name in _SESSIONS if sessions.get(name)), "")
    at_us = min((span.end_time_unix_nano or span.start_time_unix_nano) // 1_000, now_us)
    return _Place(f"span {span.span_id.hex()}", target.span_id.hex(), target.trace_id.hex(), session, at_us)


def _numbered(attributes: Iterable[Any]) -> Iterator[tuple[str, dict[str, Value]]]:
    """Scope and fields of each item of the flattened lists, in the order of the lists."""
    items: dict[tuple[str, str, int], dict[str, Value]] = {}
    for each in attributes:
        if match := _FIELD.fullmatch(each.key):
            scope, term, index, name = match.groups()
            items.setdefault((scope or "", term, int(index)), {})[name] = typed(each.value)
    for place in sorted(items):
        yield place[0], items[place]


def _event(attributes: Iterable[Any]) -> dict[str, Value]:
    return {_OF_EVENT[each.key]: typed(each.value) for each in attributes if each.key in _OF_EVENT}


def _add(found: Feedback, place: _Place, items: Iterable[tuple[str, dict[str, Value]]]) -> None:
    known: dict[Key, Annotation] = {}
    for scope, fields in items:
        annotation = _annotation(place, scope, fields)
        if isinstance(annotation, str):
            found.faults.append(f"{place.own}: {annotation}")
            continue
        if known.setdefault(annotation.key, annotation) != annotation:
            found.faults.append(f"{place.own}: several annotations {annotation.key.name!r}; the last one counts unless each has an identifier")
        known[annotation.key] = annotation
    found.annotations.extend(known.values())


def _annotation(place: _Place, scope: str, fields: Mapping[str, Value]) -> Annotation | str:
    """The annotation, or why there is none."""
    name, identifier, score = fields.get("name"), fields.get("identifier") or "", fields.get("score")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT:
        return f"an annotation needs a name of 1 to {MAX_TEXT} characters"
    if not isinstance(identifier, str) or len(identifier) > MAX_TEXT:
        return f"the identifier of annotation {name!r} must be a text of at most {MAX_TEXT} characters"
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not isfinite(score)):
        return f"the score of annotation {name!r} must be a finite number"
    label, explanation = (None if (text := fields.get(field)) is None else str(text) for field in ("label", "explanation"))
    if score is None and not label and not explanation:
        return f"annotation {name!r} needs a score, a label or an explanation"
    metadata = _metadata(fields.get("metadata"))
    if metadata is None:
        return f"the metadata of annotation {name!r} must be a JSON object"
    kind = str(fields.get("annotator_kind") or "CODE")
    if kind not in _KINDS:
        metadata, kind = {**metadata, "annotator_kind": kind}, "CODE"
    key = place.key(scope, name, identifier)
    if key is None:
        return f"annotation {name!r} is about a session, but the span has no session.id"
    score = None if score is None else float(score)
    return Annotation(key, kind, label or None, score, explanation or None, "SPAN", place.at_us, place.at_us, metadata)


def _metadata(text: Value) -> dict[str, Any] | None:
    if text is None:
        return {}
    try:
        found = orjson.loads(text) if isinstance(text, str) else None
        if not isinstance(found, dict):
            return None
        metadata_text(found)
    except ValueError:
        return None
    return found
