"""The published hash, held to its published vectors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from schemas.bucketing import bucket, fnv1a_32


@pytest.mark.parametrize(("text", "value"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_fnv_vectors(text: str, value: int) -> None:
    """From the FNV authors' test suite (also in the IETF draft)."""
    assert fnv1a_32(text) == value


@pytest.mark.parametrize(
    ("seed", "unit", "value"),
    [
        ("seed", "a", 0.0505),
        ("seed", "b", 0.2696),
        ("foo", "ab", 0.2575),
        ("foo", "def", 0.2019),
        ("89123klj", "8952klfjas09ujkasdf", 0.124),
        ("90850943850283058242805", "123", 0.7516),
        ("()**(%$##$%#$#", '___)((*":&', 0.0128),
        ("feature-exp", "d123", 0.6468),
        ("feature-exp", "i123", 0.9943),
    ],
)
def test_growthbook_vectors(seed: str, unit: str, value: float) -> None:
    """Hash version 2, as the GrowthBook SDK specification's shared cases have it."""
    assert bucket(unit, seed) == value


def test_other_scripts_hash_by_utf_16_unit() -> None:
    step = ((0x811C9DC5 ^ 0xE9) * 0x01000193) & 0xFFFFFFFF
    assert fnv1a_32("\u00e9") == step
    assert fnv1a_32("\U0001f36a") == fnv1a_32("\ud83c\udf6a")
    assert 0.0 <= bucket("\ud800", "lone surrogate") < 1.0


def test_buckets_are_uniform_and_independent_between_seeds() -> None:
    first = np.array([bucket(f"visitor-{n}", "one") for n in range(20_000)])
    second = np.array([bucket(f"visitor-{n}", "two") for n in range(20_000)])
    assert first.min() >= 0.0
    assert first.max() < 1.0
    assert stats.chisquare(np.histogram(first, bins=100, range=(0, 1))[0]).pvalue > 1e-4
    table = np.histogram2d(first, second, bins=4, range=((0, 1), (0, 1)))[0]
    assert stats.chi2_contingency(table).pvalue > 1e-4
