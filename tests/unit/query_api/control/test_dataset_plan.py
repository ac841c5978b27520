"""What an upload changes, and what every plan keeps to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.errors import ValidationFailed
from query_api.control.dataset_plan import Action, NewExample, StoredExample, plan
from schemas.global_id import global_id

_ACTIONS: list[Action] = ["create", "append", "update"]


def new(content: str, id: str | None = None) -> NewExample:
    return NewExample("{}", "{}", "{}", content, external_id=id)


@st.composite
def _stored(draw: st.DrawFn) -> list[StoredExample]:
    contents = draw(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=6))
    ids = draw(st.permutations(["x", "y", "z", None, None, None]))
    return [StoredExample(number, id, content) for number, (id, content) in enumerate(zip(ids, contents, strict=False), 1)]


_uploads = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", "w", None])), max_size=6, unique_by=lambda each: each[1] or object())


@given(_stored(), _uploads, st.sampled_from(_ACTIONS))
def test_every_example_has_one_place(stored: list[StoredExample], uploaded: list[tuple[str, str | None]], action: Action) -> None:
    examples = [new(*each) for each in uploaded]
    found = plan(stored, examples, action, 100)
    placed = [*found.made, *found.revived, *found.changed, *found.same]
    assert sorted((each.example.digest, each.example.external_id or "") for each in placed) == sorted(
        (each.digest, each.external_id or "") for each in examples
    )
    numbers = [each.number for each in placed] + found.gone
    assert len(numbers) == len(set(numbers)), "nothing is both kept and gone, or two examples"
    assert [each.number for each in found.made] == list(range(100, 100 + len(found.made)))
    live = {each.number: each for each in stored if each.digest is not None}
    assert all(live[each.number].digest == each.example.digest for each in found.same)
    assert all(live[each.number].digest != each.example.digest for each in found.changed)
    assert not {each.number for each in found.revived} & live.keys()
    kept = {each.number for each in (*found.changed, *found.same)}
    assert set(found.gone) == (set() if action == "append" else live.keys() - kept)


@given(_stored(), _uploads)
def test_the_same_update_again_changes_nothing(stored: list[StoredExample], uploaded: list[tuple[str, str | None]]) -> None:
    examples = [new(*each) for each in uploaded]
    first = plan(stored, examples, "update", 100)
    ids = {each.number: each.external_id for each in stored}
    after = [
        StoredExample(each.number, ids.get(each.number, each.example.external_id), each.example.digest)
        for each in (*first.created, *first.changed, *first.same)
    ]
    assert plan(after, examples, "update", 200).is_empty


def test_ids_of_the_store_name_examples_of_the_newest_version_only() -> None:
    stored = [StoredExample(1, None, "a"), StoredExample(2, "gone", None)]
    assert [each.number for each in plan(stored, [new("b", global_id("DatasetExample", 1))], "update", 3).changed] == [1]
    for unknown in (2, 7):
        with pytest.raises(ValidationFailed, match="No examples found"):
            plan(stored, [new("b", global_id("DatasetExample", unknown))], "update", 3)
    with pytest.raises(ValidationFailed, match="and 2 more"):
        plan(stored, [new("b", global_id("DatasetExample", 10 + number)) for number in range(7)], "update", 3)


def test_one_example_under_two_ids_is_refused() -> None:
    stored = [StoredExample(1, "own", "a")]
    with pytest.raises(ValidationFailed, match="Duplicate"):
        plan(stored, [new("b", "own"), new("c", global_id("DatasetExample", 1))], "append", 2)
