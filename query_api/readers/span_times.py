"""Bounds on when a span began, over `spans`. Each is said twice: of the minute too, which is what the table is sorted by."""

_BOUND = """toStartOfMinute(start_time) {of_minute} toStartOfMinute(fromUnixTimestamp64Nano({{{name}:Int64}}, 'UTC'))
  AND start_time {of_start} fromUnixTimestamp64Nano({{{name}:Int64}}, 'UTC')"""


def since(name: str) -> str:
    """Began at or after the parameter of this name, in nanoseconds since the epoch."""
    return _BOUND.format(of_minute=">=", of_start=">=", name=name)


def before(name: str) -> str:
    """Began before the parameter of this name, in nanoseconds since the epoch."""
    return _BOUND.format(of_minute="<=", of_start="<", name=name)
