"""Times as the crucible surface writes them."""

from schemas.windows import to_iso


def instant(time_us: int | None) -> str | None:
    """RFC 3339 in UTC, of microseconds since the epoch."""
    return None if time_us is None else to_iso(time_us)
