"""Field types that every kind of definition is built from."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from schemas.windows import ALL_TIME

TenantId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Letters, digits, dot, dash, underscore; up to 64.")]
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}$", description="1 to 200 characters, none of them control characters.")]
Time = Annotated[datetime, Meta(tz=True)]
Price = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]


def to_us(time: datetime) -> int:
    """Microseconds since the epoch, exactly; `time` must know its zone."""
    delta = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def span_of(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    """The event times between two instants, in microseconds, end exclusive; all before or after where one is left out."""
    first, last = ALL_TIME
    return first if start is None else max(first, to_us(start)), last if end is None else max(first, min(to_us(end), last))
