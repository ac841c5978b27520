"""The filter language: what it takes, what it refuses and where, and that nothing in it is ever run."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.span_filter.parser import parse, parse_reference
from schemas.span_filter.source import MAX_DEPTH, MAX_LENGTH, MAX_NODES, FilterError
from schemas.span_filter.tree import All, Attribute, Comparison, Constant, Contains, Field, HasParent, Missing, Not, OneOf, Result


@pytest.mark.parametrize(
    "condition",
    [
        "latency_ms > 100",
        "0.5 < latency_ms < 1_000",
        "not (name == 'a') or status_code == 'b' and True",
        "annotations['quality']",
        "name == 'x' and not evals['n'] or trace_annotations[\"n\"]",
        "'a' in annotations['n'].explanation",
        "llm.token_count.total - llm.token_count.prompt > 1_000",
        "float('1e3') < latency_ms and int(attributes['x']) > 1 and 'b' in str(metadata['k'])",
        "name + status_code == 'ab' and +latency_ms > -1",
        "attributes['a'][['b.c', 'd']][0] == 1",
        "metadata['a'] <= metadata['b']",
        "start_time > '2024-01-01T00:00:00+02:00' and end_time in ['2024-01-01T00:00:00Z']",
        "parent_span != None and attributes['parent_span'] == 'x'",
        "span_kind not in ('LLM', 'tool') and name in []",
        "metadata['is_empty'] is not False and True == metadata['is_empty']",
        "parent == 'x' and events == 'y'",
        "(name == 'x'\n and parent_id is None)",
        "  name == 'x'  # with a comment",
    ],
)
def test_taken(condition: str) -> None:
    parse(condition)


REFUSED = [
    ("", 1, 1, "empty"),
    ("   ", 1, 1, "empty"),
    ("name", 1, 1, "is a value and no condition"),
    ("True", 1, 1, "the same for every span"),
    ("name == 'x' and 5", 1, 17, "`5` is a value"),
    ("name == 'x' and metadata['flag']", 1, 17, "is not None"),
    ("1 in [1, 2]", 1, 1, "compares two literals"),
    ("'a' == 'b'", 1, 1, "compares two literals"),
    ("latency_ms > '100'", 1, 1, "write 100 without quotes"),
    ("latency_ms in ['1.5']", 1, 15, "write 1.5 without quotes"),
    ("name == 1", 1, 1, "cannot compare number and text"),
    ("llm.token_count.total == 'many'", 1, 1, "cannot compare number and text"),
    ("metadata['q'] in [True, 'true']", 1, 18, "cannot compare boolean and text"),
    ("1 in metadata['q']", 1, 1, "write it in quotes"),
    ("attributes['x'] > True", 1, 1, "no order"),
    ("attributes['x'] > None", 1, 1, "`is None`"),
    ("start_time > attributes['x']", 1, 1, "a time is compared with"),
    ("start_time > '2024-01-01T00:00:00'", 1, 14, "has no offset"),
    ("start_time > 'yesterday'", 1, 14, "no ISO 8601 time"),
    ("name == 'x' and latency_ms ** 2 > 10", 1, 17, "arithmetic here"),
    ("name / 2 > 1", 1, 1, "is a text and no number"),
    ("~latency_ms == 1", 1, 1, "cannot be part of a value"),
    ("name is 'abc'", 1, 9, "`is` takes"),
    ("latency_ms is 1", 1, 15, "`is` takes"),
    ("name == b'abc'", 1, 9, "is no text"),
    ("latency_ms < 1e400", 1, 14, "beyond"),
    ("latency_ms == " + "9" * 320, 1, 15, "beyond"),
    ("name in ['a', None]", 1, 15, "`is None`"),
    ("name == ('a', 'b')", 1, 9, "a list stands only"),
    ("name == 'a\\x00b'", 1, 9, "no NUL"),
    ("name == '\\ud800'", 1, 9, "whole characters"),
    ("parent_span.name == 'x'", 1, 1, "only be compared with None"),
    ("parent_span == 'LLM'", 1, 1, "only be compared with None"),
    ("evals[''].score > 1", 1, 7, "takes the name of an annotation"),
    ("annotations['q'].scor > 1", 1, 1, "did you mean `score`?"),
    ("annotations > 1", 1, 1, "needs a name"),
    ("attributes == 1", 1, 1, "needs a name"),
    ("attributes[0] == 1", 1, 1, "begins with a name"),
    ("attributes['a'][-1] == 1", 1, 17, "a place in a list"),
    ("attributes['a'][True] == 1", 1, 17, "a place in a list"),
    ("len(name) > 1", 1, 1, "cannot be called"),
    ("flot(name) > 1", 1, 1, "did you mean `float`?"),
    ("name.upper() == 'X'", 1, 1, "cannot be called"),
    ("float('nan') > 1", 1, 1, "does not read as a number"),
    ("str(start_time) == 'x'", 1, 1, "cannot be cast"),
    ("span_knd == 'LLM'", 1, 1, "did you mean `span_kind`?"),
    ("latency > 5", 1, 1, "did you mean `latency_ms`?"),
    ("(name == 'ü' and\n foo == 'x' and\n latencyms > 5)", 3, 2, "did you mean `latency_ms`?"),
    ("name = 'x'", 1, 6, "write `==`"),
    ("name == 'x' and", 1, 16, "ends too early"),
    ("name == 'x' or " * 1_000 + "name == 'y'", 1, 1, f"{MAX_LENGTH} is the most"),
    ("not " * (MAX_DEPTH + 2) + "name == 'x'", 1, 4 * (MAX_DEPTH + 1) + 1, f"deeper than {MAX_DEPTH}"),
    (" and ".join(["a==1"] * (MAX_NODES // 2)), 1, None, f"more than {MAX_NODES} parts"),
    ("-" * 5_000 + "1 < latency_ms", 1, None, "deeper than"),
    ("(" * 300 + "name" + ")" * 300 + " == 'x'", 1, None, ""),
    ("a" + ".b" * 4_000 + " == 1", 1, None, "deeper than"),
]


@pytest.mark.parametrize(("condition", "line", "column", "told"), REFUSED)
def test_refused_with_the_position(condition: str, line: int, column: int | None, told: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse(condition)
    assert told in refused.value.problem
    assert refused.value.line == line and column in (None, refused.value.column), str(refused.value)


def test_what_is_understood() -> None:
    assert parse("'gpt' in llm.model_name") == Contains(Constant("gpt", "text"), Attribute(("llm", "model_name")))
    assert parse("1 < latency_ms <= 2") == All(
        (Comparison("<", "number", Constant(1.0, "number"), Field("latency_ms", "number")), Comparison("<=", "number", Field("latency_ms", "number"), Constant(2.0, "number")))
    )  # fmt: skip
    assert parse("span_kind in ['llm']") == OneOf("text", Field("span_kind", "text"), ("LLM",)), "kinds are in capitals"
    assert parse("'ok' == status_code") == Comparison("==", "text", Constant("OK", "text"), Field("status_code", "text"))
    assert parse("parent_span is None") == Not(HasParent()) == parse("None == parent_span")
    assert parse("parent_id != None") == Not(Missing(Field("parent_id", "text")))
    assert parse("a.b == c") == Comparison("==", "any", Attribute(("a", "b")), Attribute(("c",)))
    assert parse("a > b") == Comparison(">", "number", Attribute(("a",)), Attribute(("b",)))
    assert parse("start_time == '1970-01-01T01:00:01.000001+01:00'") == Comparison("==", "time", Field("start_time", "time"), Constant(1_000_001_000, "time"))
    assert parse_reference("context.span_id") == Field("span_id", "text")
    assert parse_reference("attributes['a']['b.c'][0]") == Attribute(("a", "b.c", 0))
    assert parse_reference("evals['q'].score") == Result("span", "q", "score")
    with pytest.raises(FilterError, match="name one field"):
        parse_reference("latency_ms + 1")


_WORDS = """name latency_ms llm.model_name attributes['a'] metadata['b'][0] annotations['q'].score evals['q'] parent_span is not in and or None True False
== != < >= ( ) [ ] , 'text' '1' 1 2.5 + - * / % float( str( __import__('os') exec( lambda : := if else for await . ~ @ \\ # 'open é"""
_PIECES = st.sampled_from([*_WORDS.split(), "\n", "\0", "\ud800"])


@given(st.one_of(st.text(max_size=200), st.lists(_PIECES, max_size=30).map(" ".join)))
@example("__import__('os').system('exit 1') == 0")
@example("name == 'x' if exit() else 1")
def test_any_text_is_a_condition_or_an_error_with_a_position(text: str) -> None:
    try:
        parse(text)
    except FilterError as error:
        assert error.line >= 1 and error.column >= 1 and error.problem


def test_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    def never(*_: object, **__: object) -> object:
        raise AssertionError("a condition was run")

    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, never)
    parse("float(metadata['a']) > 1 and 'x' in str(name)")
    for text in ("eval('1') == 1", "().__class__.__bases__ == 1", "name.__class__ == 'x' and exit()"):
        with pytest.raises(FilterError):
            parse(text)
