"""Corrections of several p-values: textbook values, scipy, and the error rates they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from schemas.correction import benjamini_hochberg, corrected, holm

_P_VALUES = st.lists(st.floats(0.0, 1.0), max_size=30)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_benjamini_hochberg_agrees_with_scipy() -> None:
    rng = np.random.default_rng(5)
    for size in range(1, 60):
        p_values = rng.random(size) ** rng.integers(1, 4)
        assert benjamini_hochberg(list(p_values)) == pytest.approx(list(stats.false_discovery_control(p_values)), rel=1e-12)
    assert benjamini_hochberg([]) == []


@given(_P_VALUES)
def test_corrections_never_help_a_p_value_and_keep_the_order(p_values: list[float]) -> None:
    for method in (holm, benjamini_hochberg):
        after = method(p_values)
        assert all(old <= new <= 1.0 for old, new in zip(p_values, after, strict=True))
        order = sorted(range(len(p_values)), key=lambda index: p_values[index])
        assert [after[index] for index in order] == sorted(after)
    assert all(fdr <= family for fdr, family in zip(benjamini_hochberg(p_values), holm(p_values), strict=True))


def test_they_keep_what_they_promise() -> None:
    rng, runs, tests, real = np.random.default_rng(6), 2_000, 10, 3
    effect = np.array([3.5] * real + [0.0] * (tests - real))
    any_false, false_share = 0, 0.0
    for _ in range(runs):
        p_values = list(2 * stats.norm.sf(np.abs(rng.normal(effect))))
        any_false += any(p <= 0.05 for p in holm(p_values)[real:])
        found = [p <= 0.05 for p in benjamini_hochberg(p_values)]
        false_share += sum(found[real:]) / max(1, sum(found))
    assert any_false / runs <= 0.06
    assert false_share / runs <= 0.05


def test_none_leaves_them_alone() -> None:
    assert corrected("none", [0.2, 0.01]) == [0.2, 0.01]
    assert corrected("holm", [0.2, 0.01]) == holm([0.2, 0.01])
    assert corrected("benjamini_hochberg", [0.2, 0.01]) == benjamini_hochberg([0.2, 0.01])
