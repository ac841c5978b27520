"""Conditions: what each operator matches, and what is refused with which words."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.targeting import MAX_CONDITIONS, MAX_DEPTH, MAX_LIST, MAX_PATTERN, Operator, Rule, check, compiled, matches

MATCHES: list[tuple[Operator, Any, list[Any], list[Any]]] = [
    ("equals", "DE", ["DE"], ["de", "", 1, True, ["DE"], {"x": "DE"}]),
    ("equals", 1, [1, 1.0], ["1", True, 2]),
    ("equals", True, [True], [1, "true", False]),
    ("in", ["US", "CA"], ["US", "CA", ["DE", "CA"]], ["UK", 1, [], {}]),
    ("in", [1, True], [1, 1.0, True], ["1", False, 0]),
    ("in", [], [], ["x", 1]),
    ("contains", "check", ["checkout", "check", ["a", "check"]], ["Check", 5, ["checkout"]]),
    ("contains", 3, [[1, 3], [3.0]], ["3", [True], 3]),
    ("starts_with", "pre", ["prefix"], ["a pre", 1, ["prefix"]]),
    ("ends_with", ".org", ["a.org"], ["a.org.uk", 1]),
    ("regex", r"^\w+@example\.org$", ["me@example.org"], ["me@example.com", "me@example.org.evil", 5]),
    ("regex", "é+", ["caféé"], ["cafe", "\ud800"]),
    ("greater_than", 18, [19, 18.5, "18.5", " 20 ", 10**400], [18, "18", "old", "1_000", "0x20", True, [19], "٢٠"]),
    ("greater_or_equal", "18", [18, "18.0", 1e300], [17.9, "", None]),
    ("less_than", 0, [-1, "-0.5", "-1e3"], [0, 1, False]),
    ("less_or_equal", 0.5, [0.5, 0], [0.6]),
    ("semver_equals", "1.2.3", ["1.2.3", "1.2.3+build"], ["1.2.3-rc.1", "1.2", 1.2]),
    ("semver_greater_than", "1.2.3", ["1.10.0", "1.2.4-alpha"], ["1.2.3", "1.2.3-rc.1", "v2.0.0", 2]),
    ("semver_greater_or_equal", "1.2.3", ["1.2.3", "2.0.0"], ["1.2.3-rc.1"]),
    ("semver_less_than", "1.2.3", ["1.2.3-rc.1", "0.9.0"], ["1.2.3", "1.2"]),
    ("semver_less_or_equal", "1.2.3", ["1.2.3"], ["1.2.4"]),
    ("before", "2026-03-01T12:00:00Z", ["2026-03-01T11:59:59Z", "2026-03-01T13:59:00+02:00", "2026-03-01"], ["2026-03-01T12:00:00Z", "soon", 1]),
    ("after", "2026-03-01", ["2026-03-01T00:00:01", "2026-03-02T00:30:00+01:00"], ["2026-03-01T00:30:00+01:00", "0001-01-01T00:00:00+10:00"]),
    ("exists", None, ["", 0, False, [], {}], []),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "value", "yes", "no"), MATCHES)
def test_what_an_operator_matches(operator: Operator, value: Any, yes: list[Any], no: list[Any]) -> None:
    rule = Rule(operator, "attribute", value)
    check(rule)
    match = compiled(rule)
    assert [given for given in yes if not match({"attribute": given})] == []
    assert [given for given in no if match({"attribute": given})] == []
    assert not match({}) and not match({"attribute": None})


@pytest.mark.parametrize(
    ("negation", "positive"),
    [("not_equals", "equals"), ("not_in", "in"), ("not_contains", "contains"), ("not_regex", "regex"), ("not_exists", "exists")],
)
def test_a_negation_is_the_opposite_and_holds_for_a_missing_attribute(negation: Operator, positive: Operator) -> None:
    values: dict[str, Any] = {"in": ["x", 2], "exists": None}
    value = values.get(positive, "x")
    yes, no = compiled(Rule(positive, "a", value)), compiled(Rule(negation, "a", value))
    contexts: list[dict[str, Any]] = [{"a": "x"}, {"a": "y"}, {"a": 2}, {"a": ["x"]}, {"a": {}}, {"a": None}, {}]
    for context in contexts:
        assert yes(context) is not no(context)
    assert no({}) and no({"a": None})


def test_dots_go_into_objects() -> None:
    rule = Rule("equals", "user.plan.name", "pro")
    assert matches(rule, {"user": {"plan": {"name": "pro"}}})
    assert matches(rule, {"user.plan.name": "pro", "user": 5}), "the whole name wins"
    assert not matches(rule, {"user": {"plan": "pro"}}) and not matches(rule, {"user": None}) and not matches(rule, {})


def test_groups_nest() -> None:
    desktop, here = Rule("equals", "device", "desktop"), Rule("in", "country", ["US", "CA"])
    rule = Rule("and", rules=(desktop, Rule("or", rules=(here, Rule("exists", "tester")))))
    check(rule, "targeting")
    assert matches(rule, {"device": "desktop", "country": "US"}) and matches(rule, {"device": "desktop", "tester": True})
    assert not matches(rule, {"device": "desktop", "country": "UK"}) and not matches(rule, {"country": "US"})


@pytest.mark.parametrize("rule", [Rule(), Rule("or"), Rule("and", rules=(Rule("or"),))])
def test_no_condition_holds_for_everybody(rule: Rule) -> None:
    check(rule)
    assert matches(rule, {})


def nested(levels: int) -> Rule:
    rule = Rule("exists", "a")
    for _ in range(levels - 1):
        rule = Rule("and", rules=(rule,))
    return rule


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("regex", "a", "("), "targeting.value: not a regular expression of RE2"),
        (Rule("regex", "a", "(?=x)"), "targeting.value: not a regular expression of RE2"),
        (Rule("regex", "a", "((a{100}){100}){100}"), "targeting.value: not a regular expression of RE2"),
        (Rule("regex", "a", "x" * (MAX_PATTERN + 1)), f"more than {MAX_PATTERN} characters"),
        (Rule("regex", "a", 5), "targeting.value: must be a text that is not empty, not 5"),
        (Rule("in", "a", "US"), 'targeting.value: must be a list of values, not "US"; for a single value use `equals`'),
        (Rule("in", "a", ["US", {}]), "targeting.value: must be a text, a number, true or false, not {}"),
        (Rule("not_in", "a", [str(n) for n in range(MAX_LIST + 1)]), f"the limit is {MAX_LIST}"),
        (Rule("equals", "a", None), "targeting.value: must be a text, a number, true or false, not nothing; for a missing attribute use `not_exists`"),
        (Rule("equals", "a", [1]), "targeting.value: must be a text"),
        (Rule("contains", "a", ""), "targeting.value: must be a text that is not empty"),
        (Rule("greater_than", "a", "tall"), 'targeting.value: must be a number, not "tall"'),
        (Rule("less_than", "a", True), "targeting.value: must be a number, not true"),
        (Rule("semver_less_than", "a", "1.2"), 'targeting.value: must be a version such as 1.4.0 (semver.org), not "1.2"'),
        (Rule("before", "a", "soon"), "targeting.value: must be an ISO 8601 time"),
        (Rule("exists", "a", "yes"), "targeting.value: this operator compares with nothing"),
        (Rule("equals", "", 1), "targeting.attribute: name the attribute"),
        (Rule("equals", "a", 1, (Rule(),)), "targeting: `equals` has no `rules`"),
        (Rule("or", "a"), "targeting: `or` joins `rules`"),
        (Rule("and", rules=(Rule("exists", "a"), Rule("or", rules=(Rule("in", "a", 1),)))), "targeting.rules[1].rules[0].value: must be a list"),
        (Rule("and", rules=(Rule("exists", "a"),) * (MAX_CONDITIONS + 1)), f"targeting: there are more than {MAX_CONDITIONS} conditions"),
        (nested(MAX_DEPTH + 1), f"nest deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_is_refused(rule: Rule, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        check(rule, "targeting")
    assert words in str(refused.value)
    assert str(refused.value).startswith("targeting")


def test_the_deepest_nesting_and_the_top_path() -> None:
    check(nested(MAX_DEPTH))
    with pytest.raises(ValueError, match=r"^rules\[0\]\.value: must be a list"):
        check(Rule("and", rules=(Rule("in", "a", 1),)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(MATCHES), json_values)
@settings(max_examples=300, deadline=None)
def test_no_context_raises(row: tuple[Operator, Any, list[Any], list[Any]], value: Any) -> None:
    assert compiled(Rule(row[0], "a.b", row[1]))({"a": {"b": value}}) in (True, False)
    assert compiled(Rule(row[0], "a.b", row[1]))({"a": value}) in (True, False)
