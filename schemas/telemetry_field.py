"""Fields inside telemetry events, as requests name them: `measurements.duration_ms`, `metadata.usage.tokens`."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, get_args

import msgspec

Holder = Literal["measurements", "metadata"]
_HOLDERS: Final = get_args(Holder)
_DEEPEST: Final = 32
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class TelemetryField(NamedTuple):
    """A field in one of the two objects of an event. A member whose own name has the dots in it comes before one that is nested."""

    holder: Holder
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """Without the holder."""
        return ".".join(self.path)

    def raw_in(self, text: str) -> bytes:
        """The JSON that the field has in the JSON text of its holder, as it was sent; empty where it is not there."""
        raw = text.encode()
        return _descended(raw, (self.name,)) or _descended(raw, self.path)


def field_of(text: str, without_holder: Holder | None = None) -> TelemetryField:
    """The field of this name; `without_holder` is where a name that says neither `measurements.` nor `metadata.` belongs. Raises ValueError for what
    names no field."""
    holder, _, rest = text.partition(".")
    if holder not in _HOLDERS:
        if without_holder is None:
            raise ValueError("begins with neither `measurements.` nor `metadata.`")
        holder, rest = without_holder, text
    path = tuple(rest.split("."))
    if not all(path):
        raise ValueError("names no field; write it like `measurements.duration_ms`, with a name before and behind every dot")
    if len(path) > _DEEPEST:
        raise ValueError(f"is nested deeper than {_DEEPEST} levels")
    return TelemetryField(holder, path)  # type: ignore[arg-type]


def _descended(raw: bytes, path: Sequence[str]) -> bytes:
    try:
        for name in path:
            raw = bytes(_members.decode(raw)[name])
    except (KeyError, msgspec.MsgspecError):
        return b""
    return raw
