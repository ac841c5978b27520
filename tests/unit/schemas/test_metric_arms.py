"""Arms of a metric from database rows: every kind, absent variants, and numbers that JSON could not carry."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.definition_kinds import Metric
from schemas.metric_arms import arms_from_rows
from schemas.moments import Moments, RatioMoments
from schemas.unit_metric_sql import needs_rows


def _metric(**settings: Any) -> Metric:
    return Metric(tenant="t", id="m", event_type="e", **settings)


def _row(variant: str, units: int = 3, **sums: float | None) -> dict[str, Any]:
    return {"variant": variant, "units": units, "sy": 6.0, "sx": 3.0, "syy": 14.0, "sxx": 5.0, "sxy": 7.0, "cap": 9.0, **sums}


def test_means_and_ratios() -> None:
    rows = [_row("a"), _row("stranger"), _row("")]
    assert arms_from_rows(_metric(kind="mean"), rows, ["a", "b"]).arms == {"a": Moments(3, 6.0, 14.0), "b": Moments(0, 0.0, 0.0)}
    ratio = arms_from_rows(_metric(kind="ratio", denominator_event_type="d"), rows, ["a"])
    assert ratio.arms == {"a": RatioMoments(3, 6.0, 3.0, 14.0, 5.0, 7.0)}


def test_an_adjusted_proportion_is_compared_as_a_mean() -> None:
    rows = [_row("a", 200, sy=40.0, syy=40.0, sx=60.0, sxx=60.0, sxy=30.0), _row("b", 200, sy=60.0, syy=60.0, sx=60.0, sxx=60.0, sxy=40.0)]
    arms = arms_from_rows(_metric(covariate_days=7), rows, ["a", "b"])
    assert arms.kind == "mean" and arms.unadjusted == {"a": 0.2, "b": 0.3}
    figures = arms.figures("a", "b", 0.05)
    assert figures["unadjusted_value"] == 0.3 and isinstance(figures["covariate"], dict) and figures["covariate"]["days"] == 7
    flat = [{**row, "sx": 0.0, "sxx": 0.0, "sxy": 0.0} for row in rows]
    unchanged = arms_from_rows(_metric(covariate_days=7), flat, ["a", "b"])
    assert unchanged.kind == "proportion" and unchanged.figures("a", "b", 0.05)["treatment_value"] == 0.3


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, False),
        ({"kind": "mean", "value_path": "price"}, False),
        ({"kind": "quantile"}, True),
        ({"window_s": 60}, True),
        ({"kind": "mean", "winsorize": 0.99}, True),
        ({"kind": "proportion", "winsorize": 0.99}, False),
        ({"covariate_days": 7}, True),
        ({"kind": "ratio", "denominator_event_type": "d", "covariate_days": 7}, False),
    ],
)
def test_only_what_the_totals_cannot_give_is_read_from_the_rows(settings: dict[str, Any], expected: bool) -> None:
    assert needs_rows(_metric(**settings)) is expected


_NUMBERS = st.one_of(st.none(), st.floats())


@given(st.lists(st.tuples(st.integers(0, 10**9), *[_NUMBERS] * 6), max_size=3), st.sampled_from(["mean", "ratio", "count", "proportion", "capped", "cuped"]))
def test_no_rows_break_it(rows: list[tuple[Any, ...]], kind: str) -> None:
    settings: dict[str, Any] = {"kind": kind}
    if kind == "ratio":
        settings["denominator_event_type"] = "d"
    elif kind in ("capped", "cuped"):
        settings = {"kind": "mean", **({"winsorize": 0.9} if kind == "capped" else {"covariate_days": 7})}
    names = ("units", "sy", "sx", "syy", "sxx", "sxy", "cap")
    found = [{"variant": variant, **dict(zip(names, row, strict=True))} for variant, row in zip("abc", rows, strict=False)]
    arms = arms_from_rows(_metric(**settings), found, ["a", "b", "c"])
    for variant in "abc":
        json.dumps(arms.figures("a", variant, 0.05), allow_nan=False)


@given(st.lists(st.lists(_NUMBERS, min_size=1, max_size=5), max_size=2))
def test_no_quantile_rows_break_it(samples: list[list[float | None]]) -> None:
    rows = [
        {"variant": variant, "units": 100 * len(values), "ranks": list(range(1, len(values) + 1)), "sample": values}
        for variant, values in zip("ab", samples, strict=False)
    ]
    arms = arms_from_rows(_metric(kind="quantile"), rows, ["a", "b"])
    for variant in "ab":
        json.dumps(arms.figures("a", variant, 0.05), allow_nan=False)
