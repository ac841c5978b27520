"""The SQL of a span filter: what a user wrote is in the parameters and nowhere else."""

import re

from hypothesis import given
from hypothesis import strategies as st

from query_api.readers.span_filter_sql import FilterSql
from schemas.span_filter.parser import parse

_MARK = "mARK"
_WORDS = st.from_regex(rf"{_MARK}[a-z '\"\\;{{}}%-]{{0,12}}", fullmatch=True)
_LEAVES = st.one_of(
    st.builds("attributes[{!r}] == {!r}".format, _WORDS, _WORDS),
    st.builds("metadata[{!r}][{!r}] != {!r}".format, _WORDS, _WORDS, _WORDS),
    st.builds("{!r} in llm.model_name".format, _WORDS),
    st.builds("{!r} not in attributes[{!r}]".format, _WORDS, _WORDS),
    st.builds("name in [{!r}, {!r}]".format, _WORDS, _WORDS),
    st.builds("annotations[{!r}].label == {!r}".format, _WORDS, _WORDS),
    st.builds("evals[{!r}]".format, _WORDS),
)


@given(st.lists(_LEAVES, min_size=1, max_size=4).map(" and ".join))
def test_no_word_of_a_user_is_in_the_statement(condition: str) -> None:
    made, tree = FilterSql(), parse(condition)
    written = " ".join([made.condition(tree), *made.hints(tree), *(sql for level in made.levels for sql in level)])
    assert _MARK not in written
    used = set(re.findall(r"\{(f_\d+):", written))
    assert used <= set(made.params) and all(_MARK not in name for name in made.params)


def test_an_attribute_is_worked_out_once() -> None:
    made = FilterSql()
    made.condition(parse("metadata['a'] > 1 and metadata['a'] < 5 or metadata['a'] == 'x'"))
    names = [sql.rpartition(" AS ")[2] for level in made.levels for sql in level]
    assert len(names) == len(set(names)) and not any(name.startswith("attribute_1") for name in names)


def test_each_level_uses_only_what_is_below() -> None:
    made = FilterSql()
    made.condition(parse("metadata['a']['b'] == 1 and 'x' in deep.one.two and attributes['list'][0] == 'y' and gone is None"))
    known: set[str] = set()
    for level in made.levels:
        for sql in level:
            assert set(re.findall(r"\battribute_\d+\w*", sql.rpartition(" AS ")[0])) <= known
        known |= {sql.rpartition(" AS ")[2] for sql in level}


def test_what_an_index_can_answer_is_said_in_its_words() -> None:
    def hints(condition: str) -> list[str]:
        return FilterSql().hints(parse(condition))

    assert hints("session.id == 's'") == ["session_id = {f_0:String}"]
    assert "hasAny(pairs" in hints("'v' == attributes['k']")[0] and len(hints("a == 'x' and b == 'y' and c > 1")) == 2
    assert not hints("a == 'x' or b == 'y'") and not hints("a != 'x'") and not hints("attributes['a'][0] == 'x'") and not hints("a == ''")[1:]
