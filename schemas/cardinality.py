"""What a window of cardinality says: how many series and label values are active, how that grows, and which labels are why.

Growth is judged against the windows just before, three ways, because each alone is blind to one of the others:
a jump against their median, a steady rise from window to window (which no single step gives away), and churn, where the
level stands still but most of what is active was not there before. Pure; nothing blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import log
from statistics import median
from typing import Any, Final

METRICS: Final = "metrics"
SPANS: Final = "spans"
"""Signals. Spans have one entry for the whole service; its "series" are the operations: distinct pairs of name and kind."""

RESOURCE: Final = "@resource"
OPERATION: Final = "@operation"
"""Stand in the list of labels for the resource a series comes from and for the span's name."""

HISTORY: Final = 5
"""Windows of the same grain that a window is compared with: those directly before it, as far as they hold data."""
TOP_LABELS: Final = 20
"""Labels listed in a window, those with most values first."""
MIN_ADDED: Final = 10
"""Fewer than this is never called growth."""
JUMP_RATIO: Final = 1.5
STEADY_STEPS: Final = 3
"""Windows in a row that each have more than the one before."""
STEADY_RATIO: Final = 1.02
"""Least rise over those windows together, so that noise on a large level is not taken for one."""
CHURN_SHARE: Final = 0.2
"""Share of what is active that no window of the history had."""


@dataclass(frozen=True)
class Count:
    """Distinct things of one kind in a window and in those before."""

    now: int
    history: tuple[int, ...] = ()
    """Of the windows before that hold data, oldest first."""
    fresh: int | None = None
    """How many of `now` no window of the history had; None without history."""


def item(signal: str, metric: str) -> str:
    """Name of the figures of a metric, or of a service's spans, in a window."""
    return f"{signal}:{metric}"


def growth(count: Count) -> dict[str, Any]:
    """Growth against the windows before.

    `previous` is their median, `added` and `ratio` compare with it, `per_window` is the median step from window to
    window, `fresh` what none of them had, `rising` the number of rises in a row up to this window. `kind` is `none`
    without history, else the first that holds of `jump`, `steady`, `churn`, `falling`, `level`.
    """
    if not count.history:
        return {"kind": "none", "previous": None, "added": None, "ratio": None, "per_window": None, "fresh": None, "rising": 0, "windows": 0}
    levels = (*count.history, count.now)
    steps = [after - before for before, after in pairwise(levels)]
    previous = median(count.history)
    rising = _rising(steps)
    return {
        "kind": _kind(count, previous, levels, rising),
        "previous": previous,
        "added": count.now - previous,
        "ratio": round(count.now / previous, 6) if previous else None,
        "per_window": median(steps),
        "fresh": count.fresh,
        "rising": rising,
        "windows": len(count.history),
    }


def figures(points: int, whole: Count, labels: Mapping[str, Count]) -> dict[str, Any]:
    """The payload of one metric in one window."""
    series = growth(whole)
    ordered = sorted(labels.items(), key=lambda entry: (-entry[1].now, entry[0]))
    grown = {name: growth(count) for name, count in ordered}
    return {
        "points": points,
        "active_series": whole.now,
        "growth": series,
        "label_count": len(ordered),
        "labels": [{"label": name, "values": count.now, "growth": grown[name]} for name, count in ordered[:TOP_LABELS]],
        "causes": _causes(whole, series, ordered, grown),
    }


def _rising(steps: list[int]) -> int:
    count = 0
    for step in reversed(steps):
        if step <= 0:
            break
        count += 1
    return count


def _kind(count: Count, previous: float, levels: tuple[int, ...], rising: int) -> str:
    if count.now - previous >= MIN_ADDED and count.now >= JUMP_RATIO * previous:
        return "jump"
    base = levels[-1 - rising]
    if rising >= STEADY_STEPS and count.now - base >= MIN_ADDED and count.now >= STEADY_RATIO * base:
        return "steady"
    if count.fresh is not None and count.fresh >= max(MIN_ADDED, CHURN_SHARE * count.now):
        return "churn"
    if previous - count.now >= MIN_ADDED and previous >= JUMP_RATIO * count.now:
        return "falling"
    return "level"


def _causes(whole: Count, series: Mapping[str, Any], labels: list[tuple[str, Count]], grown: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Labels whose values grew along with the series, most telling first.

    Series multiply with the values of their labels, so a label's share in a rise is taken on a logarithmic scale; in
    churn it is the label's new values as a share of the new series.
    """
    kind = series["kind"]
    if kind not in ("jump", "steady", "churn"):
        return []
    found = []
    for name, count in labels:
        share = _fresh_share(whole, count) if kind == "churn" else _log_share(_base(whole, series), whole.now, _base(count, series), count.now)
        if share >= 0.1:
            found.append({"label": name, "share": round(min(share, 1.0), 6), "added": grown[name]["added"], "fresh": count.fresh, "values": count.now})
    found.sort(key=lambda cause: (-float(str(cause["share"])), str(cause["label"])))
    return found[:TOP_LABELS]


def _base(count: Count, series: Mapping[str, Any]) -> float:
    """The level growth is measured from: the median for a jump, where the rise began for a steady one."""
    if not count.history:
        return 0.0
    return float(median(count.history)) if series["kind"] == "jump" else float(count.history[max(0, len(count.history) - int(series["rising"]))])


def _log_share(before: float, now: int, label_before: float, label_now: int) -> float:
    if now <= before or label_now <= label_before:
        return 0.0
    return log(label_now / max(label_before, 1.0)) / log(now / max(before, 1.0)) if now > max(before, 1.0) else 0.0


def _fresh_share(whole: Count, count: Count) -> float:
    return (count.fresh or 0) / whole.fresh if whole.fresh else 0.0
