"""GlobalIDs of the LLM surface, as its clients know them: base64 of `Type:number`.

Things of the control store are numbered there. What arrives in the flow has ids of its own, which become numbers without a table between:
hex ids are read as such, and any other text as the number its UTF-8 bytes spell, behind a leading 1 that keeps zero bytes.
"""

import binascii
from base64 import b64decode, b64encode, urlsafe_b64decode
from typing import Literal, NamedTuple, cast, get_args

IdType = Literal[
    "Project", "Span", "Trace", "ProjectSession", "Dataset", "DatasetVersion", "DatasetExample", "DatasetSplit", "Experiment", "ExperimentRun",
    "ExperimentEvaluation", "SpanAnnotation", "TraceAnnotation", "ProjectSessionAnnotation", "DocumentAnnotation", "Prompt", "PromptVersion",
    "PromptVersionTag", "User", "CategoricalAnnotationConfig", "ContinuousAnnotationConfig", "FreeformAnnotationConfig",
]  # fmt: skip
_TYPES = frozenset(get_args(IdType))


class GlobalId(NamedTuple):
    """What a GlobalID names."""

    type: IdType
    number: int


def global_id(kind: IdType, number: int) -> str:
    """The id of a thing by its number."""
    return b64encode(f"{kind}:{number}".encode()).decode()


def parse(text: str) -> GlobalId | None:
    """What an id names; None for a text that is not a GlobalID, such as a name. Takes both alphabets of base64."""
    try:
        raw = b64decode(text, validate=True) if "-" not in text and "_" not in text else urlsafe_b64decode(text)
        kind, colon, number = raw.decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        return None
    return GlobalId(cast(IdType, kind), int(number)) if colon and kind in _TYPES and number.isascii() and number.isdecimal() and len(number) <= 4_000 else None


def number_of(text: str, kind: IdType) -> int | None:
    """The number in an id of this type; None for anything else."""
    found = parse(text)
    return found.number if found is not None and found.type == kind else None


def span_number(trace_id: str, span_id: str) -> int:
    """A span's number, from its two hex ids: span ids are unique only within their trace."""
    return int(trace_id + span_id, 16)


def span_ids(number: int) -> tuple[str, str] | None:
    """Trace id and span id of a span's number; None when it is no span's."""
    text = f"{number:048x}"
    return (text[:32], text[32:]) if len(text) == 48 else None


def trace_number(trace_id: str) -> int:
    """A trace's number, from its hex id."""
    return int(trace_id, 16)


def trace_id(number: int) -> str | None:
    """The trace id of a trace's number; None when it is no trace's."""
    text = f"{number:032x}"
    return text if len(text) == 32 else None


def text_number(text: str) -> int:
    """The number of something that has only a text, such as a session."""
    return int.from_bytes(b"\x01" + text.encode(), "big")


def number_text(number: int) -> str | None:
    """The text of such a number; None when there is none."""
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    try:
        return raw[1:].decode() if raw[:1] == b"\x01" else None
    except ValueError:
        return None


def user_number(user_id: str) -> int:
    """A user's number: that of the hex digits in the id."""
    digits = user_id.removeprefix("usr_")
    return int(digits, 16) if len(digits) == 16 and set(digits) <= set("0123456789abcdef") else text_number(user_id)
