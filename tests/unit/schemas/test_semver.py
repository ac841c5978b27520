"""Versions, held to the examples of the specification."""

from itertools import pairwise

import pytest

from schemas.semver import precedence


def test_the_order_that_the_specification_gives() -> None:
    """Section 11 of semver.org 2.0.0, and numbers by value."""
    order = [
        "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0",
        "2.0.0", "2.1.0", "2.1.1", "2.10.0", "10.0.0",
    ]  # fmt: skip
    for low, high in pairwise(order):
        first, second = precedence(low), precedence(high)
        assert first is not None and second is not None
        assert first < second, f"{low} comes before {high}"


def test_build_metadata_does_not_count() -> None:
    assert precedence("1.0.0+20130313144700") == precedence("1.0.0+exp.sha.5114f85") == precedence("1.0.0")
    assert precedence("1.0.0-beta+exp") == precedence("1.0.0-beta") != precedence("1.0.0")


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2", "v1.2.3", "01.1.1", "1.2.3.4", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "1.2.3 ", "٣.1.1", "1.0.0-" + "a" * 300],
)
def test_what_is_not_a_version(text: str) -> None:
    assert precedence(text) is None


@pytest.mark.parametrize("text", ["0.0.0", "1.2.3-0a.1-x", "1.2.3----RC-SNAPSHOT.12.9.1--.12+788", "1.0.0-0A.is.legal", "99999999999999999999.0.0"])
def test_what_is_a_version(text: str) -> None:
    """From the list of valid versions that the specification links to."""
    assert precedence(text) is not None
