"""Units named in a statement travel in the request's address, which holds only so much."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from streams.readers.experiments import MAX_NAMES_BYTES, name_groups


@given(st.lists(st.text(max_size=512), max_size=200))
def test_groups_hold_every_unit_in_order_and_fit(units: list[str]) -> None:
    groups = list(name_groups(units))
    assert [unit for group in groups for unit in group] == units
    assert all(group for group in groups)
    assert all(len(group) == 1 or sum(len(quote(unit)) for unit in group) <= MAX_NAMES_BYTES for group in groups)


def test_many_units_are_several_groups() -> None:
    units = [f"unit-{number}-ß" for number in range(5_000)]
    groups = list(name_groups(units))
    assert len(groups) > 3 and max(map(len, groups)) < 1_500
