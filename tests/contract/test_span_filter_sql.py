"""A span filter means the same in SQL and in memory, and means what users of the language expect."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from infra.runtime.settings import ClickHouseSettings
from query_api.readers.rows import ClickHouseRows
from query_api.readers.span_query import Kept, SpanQueryReader, Stretch, Wanted
from schemas.any_value import Value, encode
from schemas.span_filter.evaluate import Facts, Note, matches
from schemas.span_filter.parser import parse
from schemas.span_filter.tree import Field
from schemas.tables.catalog import TABLES
from tests.contract.clickhouse import arrow
from tests.support import EmbeddedParts

TENANT, PROJECT = "acme", "agents"
_START = 1_790_000_000_000_000_000
_SECOND = 1_000_000_000


def _span(number: int, attributes: Mapping[str, Value], **fields: Any) -> Facts:
    at = _START + number * 60 * _SECOND
    plain: dict[str, Any] = {
        "trace_id": f"{number:032x}", "span_id": f"{number:016x}", "parent_id": None, "name": f"s{number:02}", "span_kind": "LLM", "status_code": 1,
        "status_message": "", "start_ns": at, "end_ns": at + number * _SECOND, "attributes": attributes, "has_parent": False,
    }  # fmt: skip
    return Facts(**(plain | fields))


_LONG = "the weather " * 20_000
SPANS = [
    _span(1, {"flag": True, "num": "1.5", "input.value": "Hello", "arr": [1, 2, "three"], "uni": "café", "deep": {"a": {"b": 1}, "x.y": "z"}, "mixed": 1}),
    _span(
        2, {"flag": "true", "num": "abc", "input.value": "hello again", "arr": [None, "Prod"], "uni": "naïve", "mixed": 2.5}, span_kind="CHAIN", status_code=2
    ),
    _span(3, {"flag": 1, "num": "1_000", "input.value": "hi", "arr": [], "uni": "日本語", "mixed": "3"}, parent_id="f" * 16, span_kind="tool", status_code=0),
    _span(4, {"flag": "", "num": "nan", "uni": "", "mixed": "abc", "metadata": '{"a": null, "flag": false, "tags": ["Prod", 2]}'}, span_kind=""),
    _span(5, {"flag": False, "num": "inf", "input.value": "x" * 200, "mixed": True, "metadata": '{"a": "x", "a.b": 7, "n": 1.5, "o": {"k": [10, "ten"]}}'}),
    _span(6, {"flag": "False", "num": " 12 ", "input.value": "  ", "mixed": -7, "metadata": "no json {"}, status_message="out of memory"),
    _span(7, {"flag": 0, "num": 42, "mixed": [1, 2], "metadata": {"a": "x", "n": 3, "nested": {"q": "Q"}}, "metadata.flat": "yes"}),
    _span(8, {"num": "-0.5", "llm.token_count.total": "not a number", "llm.token_count.prompt": "10", "mixed": {"k": "value"}}),
    _span(9, {"num": 2**62 + 1, "llm.model_name": "gpt-4o", "llm.token_count.prompt": 100, "llm.token_count.total": 150, "session.id": "s-1"}),
    _span(
        10, {"num": -1, "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 30, "llm.model_name": "claude"}, parent_id=f"{1:016x}", has_parent=False
    ),
    _span(11, {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 30, "num": 1e-7, "input.value": _LONG, "mixed": 1e22, "tag.tags": ["a", "b"]}),
    _span(12, {"retrieval.documents.0.document.content": "Paris is sunny", "retrieval.documents.1.document.score": 0.5, "num": 0.1, "mixed": b"raw"}),
    _span(13, {"openinference.span.kind": "LLM", "num": 300, "input.value": 'quote " and \\ and \n line', "a b": 1, "name": "as an attribute"}, end_ns=0),
    _span(14, {"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Hello there", "num": 1, "other": 1.0}),
    _span(15, {}, name="ПРИВЕТ мир", trace_id=f"{14:032x}", parent_id=f"{14:016x}", has_parent=True),
]
NOTES = [
    (1, Note("quality", "high", 0.9)),
    (2, Note("quality", "low", 0.2, "because the Needle was lost")),
    (3, Note("quality", None, None)),
    (4, Note("Q&A 'x'", "", 0)),
    (14, Note("quality", "good", 1.0, about="trace")),
]
MARKED = [
    replace(span, notes=[note for number, note in NOTES if int((span.trace_id if note.about == "trace" else span.span_id).lstrip("0"), 16) == number])
    for span in SPANS
]  # fmt: skip


class Stored:
    """The spans and annotations in tables of their own."""

    def __init__(self, url: ClickHouseSettings) -> None:
        self._settings = url
        self._loop = asyncio.new_event_loop()
        self._rows = ClickHouseRows(url)
        self._loop.run_until_complete(self._fill())

    def found(self, condition: str, **wanted: Any) -> set[str]:
        """Names of the spans that meet a condition."""
        return set(self.names(condition, **wanted))

    def names(self, condition: str, **wanted: Any) -> list[str]:
        async def read() -> list[str]:
            reader = SpanQueryReader(self._rows)
            asked = Wanted(parse(condition) if condition else None, columns={"column_0": Field("name", "text")}, kept=Kept(), **wanted)
            page = await reader.page(TENANT, PROJECT, asked, Stretch(0, asked.limit), None)
            return [text.strip('"') for text in page.column("column_0").to_pylist()]

        return self._loop.run_until_complete(read())

    def close(self) -> None:
        self._loop.run_until_complete(self._rows.close())
        self._loop.close()

    async def _fill(self) -> None:
        client = self._rows._client
        plain = type(client)(self._settings.url, self._settings.user, "", "")
        await plain.command(f"CREATE DATABASE {self._settings.database}")
        writer = type(client)(self._settings.url, self._settings.user, "", self._settings.database)
        for table in TABLES:
            for statement in table.create(1_000, 36_500):
                await writer.command(statement)
        await writer.insert_bytes("INSERT INTO spans (tenant, project, trace_id, span_id, parent_id, name, span_kind, status_code, status_message, start_time, "
                                  "end_time, attributes, bytes, session_id, llm_model, prompt_tokens, completion_tokens, received) FORMAT ArrowStream",
                                  arrow(_table(SPANS)))  # fmt: skip
        rows = [
            {"tenant": TENANT, "target": note.about, "target_id": f"{number:032x}" if note.about == "trace" else f"{number:016x}", "name": note.name,
             "label": note.label, "score": note.score, "explanation": note.explanation, "updated": pa.scalar(1, pa.timestamp("us", "UTC")).as_py()}
            for number, note in NOTES
        ]  # fmt: skip
        await writer.insert_bytes("INSERT INTO annotations (tenant, target, target_id, name, label, score, explanation, updated) FORMAT ArrowStream",
                                  arrow(pa.Table.from_pylist(rows)))  # fmt: skip
        await plain.aclose()
        await writer.aclose()


def _table(spans: Sequence[Facts]) -> pa.Table:
    times = pa.timestamp("ns", "UTC")
    counts = [30 if span.span_id.endswith("a") or span.span_id.endswith("b") else 100 if span.span_id.endswith("9") else 0 for span in spans]
    return pa.table(
        {
            "tenant": [TENANT] * len(spans), "project": [PROJECT] * len(spans),
            **{name: [getattr(span, name) or "" for span in spans] for name in ("trace_id", "span_id", "parent_id", "name", "span_kind", "status_message")},
            "status_code": pa.array([span.status_code for span in spans], pa.int32()),
            "start_time": pa.array([span.start_ns for span in spans], times), "end_time": pa.array([span.end_ns for span in spans], times),
            "attributes": pa.array([[(name, encode(value)) for name, value in span.attributes.items()] for span in spans], pa.map_(pa.string(), pa.binary())),
            "bytes": pa.array([1_000] * len(spans), pa.uint32()), "session_id": [str(span.attributes.get("session.id", "")) for span in spans],
            "llm_model": [str(span.attributes.get("llm.model_name", span.attributes.get("gen_ai.request.model", ""))) for span in spans],
            "prompt_tokens": pa.array(counts, pa.uint64()), "completion_tokens": pa.array([1] * len(spans), pa.uint64()),
            "received": pa.array([span.start_ns // 1_000 for span in spans], pa.timestamp("us", "UTC")),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def stored() -> Iterator[Stored]:
    with EmbeddedParts(kafka=False) as parts:
        here = Stored(parts.settings.clickhouse.model_copy(update={"database": f"filters_{uuid4().hex}"}))
        yield here
        here.close()


def _in_memory(condition: str) -> set[str]:
    tree = parse(condition)
    return {span.name for span in MARKED if matches(tree, span)}


def _numbers(*numbers: int) -> set[str]:
    return {SPANS[number - 1].name for number in numbers}


_EVERYONE = {span.name for span in SPANS}
EXPECTED: list[tuple[str, set[str]]] = [
    ("attributes['flag'] == True", _numbers(1, 2, 3)),
    ("attributes['flag'] is False", _numbers(5, 6, 7)),
    ("attributes['flag'] is not False", _numbers(1, 2, 3)),
    ("not (attributes['flag'] == True)", _numbers(5, 6, 7)),
    ("float(num) > 1", _numbers(1, 6, 7, 9, 13)),
    ("num < 0", _numbers(8, 10)),
    ("num == '42'", set()),
    ("num == 42", _numbers(7)),
    ("num == 1e-7", _numbers(11)),
    ("num in [42, 300, 0.1]", _numbers(7, 12, 13)),
    ("num not in [42, 300]", {span.name for span in SPANS} - _numbers(7, 13, 2, 3, 4, 5, 15)),
    ("num == other", _numbers(14)),
    ("num > 4611686018427387000", _numbers(9)),
    ("'12' in num", _numbers(6)),
    ("'4' in str(num)", _numbers(7, 9)),
    ("mixed > 1", _numbers(2, 3, 11)),
    ("mixed == '3'", _numbers(3)),
    ("mixed != '3'", _numbers(1, 2, 4, 5, 6, 7, 8, 11, 12)),
    ("mixed == True", _numbers(1, 5)),
    ("mixed + 1 > 2", _numbers(2, 3, 11)),
    ("mixed is None", _numbers(9, 10, 13, 14, 15)),
    ("'abc' in mixed or 'VALUE' in mixed", _numbers(4, 8)),
    ("input.value == 'hi'", _numbers(3)),
    ("'HELLO' in input.value", _numbers(1, 2)),
    ("'hello' not in input.value", _numbers(3, 5, 6, 11, 13)),
    ("'weather' in input.value", _numbers(11)),
    ("input.value is not None", _numbers(1, 2, 3, 5, 6, 11, 13)),
    ("input.value == 'quote \" and \\\\ and \\n line'", _numbers(13)),
    ("uni == 'café' or '本' in uni", _numbers(1, 3)),
    ("'привет' in name", _numbers(15)),
    ("attributes['deep']['a']['b'] == 1", _numbers(1)),
    ("deep.a.b == 1 and attributes['deep']['x.y'] == 'z'", _numbers(1)),
    ("attributes['arr'][0] == 1", _numbers(1)),
    ("attributes['arr'][1] == 'Prod'", _numbers(2)),
    ("'prod' in arr", _numbers(2)),
    ("'b' in tag.tags", _numbers(11)),
    ("metadata['a'] == 'x'", _numbers(5, 7)),
    ("metadata['a.b'] == 7", _numbers(5)),
    ("metadata['n'] > 1", _numbers(5, 7)),
    ("metadata['a'] is None", _EVERYONE - _numbers(5, 7)),
    ("metadata['flag'] is False", _numbers(4)),
    ("'prod' in metadata['tags']", _numbers(4)),
    ("metadata['tags'][1] == 2", _numbers(4)),
    ("metadata['o']['k'][0] == 10", _numbers(5)),
    ("'ten' in metadata['o']['k']", _numbers(5)),
    ("metadata['nested']['q'] == 'Q'", _numbers(7)),
    ("metadata['flat'] == 'yes'", _numbers(7)),
    ("metadata is not None", _numbers(4, 5, 6, 7)),
    ("span_kind == 'llm'", _numbers(1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
    ("span_kind in ['Tool', 'unknown']", _numbers(3, 4)),
    ("status_code == 'error' or status_code == 'UNSET'", _numbers(2, 3)),
    ("status_message == 'out of memory'", _numbers(6)),
    ("'MEMORY' in status_message", _numbers(6)),
    ("1000 < latency_ms <= 3000", _numbers(2, 3)),
    ("latency_ms is None", _numbers(13)),
    ("latency_ms % 2000 == 0 and latency_ms / 0 is None", _numbers(2, 4, 6, 8, 10, 12, 14)),
    ("-latency_ms + 1 > -2000", _numbers(1, 2)),
    ("start_time < '2026-09-21T14:15:00Z'", _numbers(1)),
    ("start_time in ['2026-09-21T14:14:20Z', '2026-09-21T16:15:20+02:00']", _numbers(1, 2)),
    ("span_id == '000000000000000c'", _numbers(12)),
    (f"trace_id == '{14:032x}'", _numbers(14, 15)),
    ("parent_id is None", _EVERYONE - _numbers(3, 10, 15)),
    ("parent_span is None", _EVERYONE - _numbers(15)),
    ("parent_span is not None", _numbers(15)),
    ("parent_id == '0000000000000001'", _numbers(10)),
    ("llm.model_name == 'gpt-4o'", _numbers(9, 11)),
    ("llm.model_name in ['claude', 'x']", _numbers(10)),
    ("llm.token_count.prompt > 5", _numbers(8, 9, 10, 11)),
    ("llm.token_count.total > 5", _numbers(9)),
    ("llm.token_count.total - llm.token_count.prompt == 50", _numbers(9)),
    ("session.id == 's-1'", _numbers(9)),
    ("retrieval.documents is not None", _numbers(12)),
    ("'SUNNY' in retrieval.documents", _numbers(12)),
    ("retrieval.documents[1].document.score == 0.5", _numbers(12)),
    ("'there' in llm.input_messages and llm.input_messages[0].message.role == 'user'", _numbers(14)),
    ("attributes['a b'] == 1 and attributes['name'] == 'as an attribute'", _numbers(13)),
    ("annotations['quality']", _numbers(1, 2, 3)),
    ("not evals['quality'] and num == 42", _numbers(7)),
    ("evals['quality'].label == 'high'", _numbers(1)),
    ("annotations['quality'].score < 0.5", _numbers(2)),
    ("annotations['quality'].score is None", _EVERYONE - _numbers(1, 2)),
    ("'needle' in annotations['quality'].explanation", _numbers(2)),
    ("annotations[\"Q&A 'x'\"].label == '' and annotations[\"Q&A 'x'\"].score == 0", _numbers(4)),
    ("trace_annotations['quality'].score == 1", _numbers(14, 15)),
    ("trace_annotations['quality'] or annotations['quality'].label != 'high'", _numbers(2, 14, 15)),
    ("name in []", set()),
    ("name not in []", _EVERYONE),
    ("name == 's01' or False", _numbers(1)),
    ("name < 's03'", _numbers(1, 2)),
    ("name + '!' == 's01!'", _numbers(1)),
    ("nothing == nothing", set()),
]


@pytest.mark.parametrize(("condition", "expected"), EXPECTED, ids=[condition for condition, _ in EXPECTED])
def test_a_condition_finds_what_it_says(stored: Stored, condition: str, expected: set[str]) -> None:
    assert stored.found(condition) == expected
    if not condition.startswith("parent_span"):
        assert _in_memory(condition) == expected


def test_tokens_of_everything_below_count(stored: Stored) -> None:
    assert stored.found("cumulative_token_count.total == 2") == _numbers(14)
    assert stored.found("cumulative_llm_token_count_prompt >= 100") == _numbers(9)
    assert stored.found("cumulative_token_count.total > 30") == _numbers(9, 10, 11)


def test_roots_are_asked_for_with_or_without_orphans(stored: Stored) -> None:
    assert stored.found("", roots="strict") == _EVERYONE - _numbers(3, 10, 15)
    assert stored.found("", roots="orphans too") == _EVERYONE - _numbers(15)


def test_the_newest_come_first_within_times_and_limit(stored: Stored) -> None:
    assert stored.names("", limit=3) == ["ПРИВЕТ мир", "s14", "s13"]
    at = _START + 60 * _SECOND
    assert stored.names("", start_ns=at, end_ns=at + 1) == ["s01"]
    assert stored.names("", end_ns=at) == []


_OPERANDS = st.sampled_from(
    [
        "flag", "num", "mixed", "arr", "uni", "input.value", "deep", "attributes['deep']['a']", "attributes['deep']['a']['b']", "attributes['arr'][0]", "attributes['arr'][2]",
        "metadata", "metadata['a']", "metadata['n']", "metadata['tags']", "metadata['tags'][0]", "metadata['o']['k']", "metadata['flag']", "metadata['a.b']", "metadata['flat']",
        "llm.model_name", "llm.token_count.prompt", "retrieval.documents", "llm.input_messages", "tag.tags", "other", "gone",
    ]
)  # fmt: skip
_TEXTS = st.sampled_from(["''", "'x'", "'a'", "'true'", "'Prod'", "'12'", "'hello'", "'HIGH'", "'LLM'", "'1'", "'z'", "'0.1'", "'本'"])
_NUMBERS = st.sampled_from(["0", "1", "-1", "1.5", "42", "300", "1e-7", "0.1", "1e22", "2", "4611686018427387905"])
_FIELDS = st.sampled_from(
    ["name", "span_kind", "status_code", "status_message", "parent_id", "annotations['quality'].label", "trace_annotations['quality'].label"]
)
_AMOUNTS = st.sampled_from(["latency_ms", "annotations['quality'].score", "llm.token_count.total"])
_ANY_NUMBER = st.recursive(
    st.one_of(_OPERANDS, _NUMBERS, _AMOUNTS, st.builds("float({})".format, _OPERANDS), st.builds("-{}".format, _OPERANDS)),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-*/%"), inner),
    max_leaves=3,
)
_ORDER = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
_LEAF = st.one_of(
    st.builds("{} {} {}".format, _OPERANDS, _ORDER, st.one_of(_TEXTS, _NUMBERS, _OPERANDS)),
    st.builds("{} {} {}".format, st.one_of(_ANY_NUMBER, _AMOUNTS), _ORDER, _AMOUNTS),
    st.builds("{} {} {}".format, _FIELDS, _ORDER, st.one_of(_TEXTS, _OPERANDS)),
    st.builds("{} {} {}".format, _OPERANDS, st.sampled_from(["is", "is not", "==", "!="]), st.sampled_from(["True", "False", "None"])),
    st.builds("{} {} {}".format, st.one_of(_TEXTS, _OPERANDS), st.sampled_from(["in", "not in"]), st.one_of(_OPERANDS, _FIELDS)),
    st.builds("{} {} [{}, {}]".format, _OPERANDS, st.sampled_from(["in", "not in"]), _NUMBERS, _NUMBERS),
    st.builds("{} {} [{}, {}]".format, st.one_of(_OPERANDS, _FIELDS), st.sampled_from(["in", "not in"]), _TEXTS, _TEXTS),
    st.builds("{} {} str({})".format, _TEXTS, st.sampled_from(["in", "==", "!="]), _OPERANDS),
    st.sampled_from(["annotations['quality']", "trace_annotations['quality']", "evals['nobody']"]),
)
CONDITIONS = st.recursive(
    _LEAF,
    lambda inner: st.one_of(st.builds("({} and {})".format, inner, inner), st.builds("({} or {})".format, inner, inner), st.builds("not ({})".format, inner)),
    max_leaves=4,
)


def _understood(condition: str) -> bool:
    try:
        parse(condition)
    except ValueError:
        return False
    return True


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(CONDITIONS.filter(_understood), min_size=3, max_size=3))
@example(["'1' in mixed", "'Prod' not in metadata['tags']", "mixed == num", "not (mixed < num)", "flag in ['true', '']", "'2' in str(mixed)"])
def test_sql_and_memory_agree(stored: Stored, conditions: list[str]) -> None:
    for condition in conditions:
        assert stored.found(condition) == _in_memory(condition), condition
