"""A dataset as a file: CSV, JSON lines, and the two line formats of OpenAI."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import orjson

from query_api.control.datasets import Example
from schemas.global_id import global_id

Lines = Literal["jsonl", "openai_ft", "openai_evals"]
Splits = Mapping[int, Sequence[str]]
"""Names of the splits of each example that is in any."""


def as_csv(examples: Sequence[Example], splits: Splits) -> bytes:
    """One line per example: `id`, `node_id`, and the members of input, output and metadata under dotted names; lists are JSON. A column
    `splits` where an example is in any. What this gives can be uploaded again."""
    with_splits = any(each.number in splits for each in examples)
    records = [_record(each, splits, with_splits) for each in examples]
    return table(records, ("id", "node_id"), last=("splits",) if with_splits else ())


def table(records: Sequence[Mapping[str, Any]], first: Sequence[str], last: Sequence[str] = ()) -> bytes:
    """CSV of records whose columns may differ, in the order in which they are first seen between the `first` and the `last`. A text stands for
    itself, None for nothing, anything else for its JSON."""
    columns = [*first, *(name for name in dict.fromkeys(name for each in records for name in each) if name not in first and name not in last), *last]
    return head(columns) + lines(records, columns)


def head(columns: Sequence[str]) -> bytes:
    """The first line of a CSV file."""
    return lines([dict(zip(columns, columns, strict=True))], columns)


def lines(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """The lines of a CSV file that stand below the names of the columns."""
    sheet = io.StringIO()
    csv.writer(sheet, lineterminator="\n").writerows([_cell(each.get(name)) for name in columns] for each in records)
    return sheet.getvalue().encode()


def as_lines(examples: Sequence[Example], form: Lines, splits: Splits) -> bytes:
    """One JSON object per line and example."""
    return b"".join(orjson.dumps(_line(each, form, splits), option=orjson.OPT_APPEND_NEWLINE) for each in examples)


def _ids(example: Example) -> dict[str, str]:
    node = global_id("DatasetExample", example.number)
    return {"id": example.external_id or node, "node_id": node}


def _record(example: Example, splits: Splits, with_splits: bool) -> dict[str, Any]:
    record: dict[str, Any] = dict(_ids(example))
    for name, text in (("input", example.input), ("output", example.output), ("metadata", example.meta)):
        record.update(_members(name, orjson.loads(text)))
    return {**record, "splits": splits.get(example.number, ())} if with_splits else record


def _members(prefix: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, member in value.items():
        if isinstance(member, dict):
            yield from _members(f"{prefix}.{name}", member)
        else:
            yield f"{prefix}.{name}", member


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _line(example: Example, form: Lines, splits: Splits) -> dict[str, Any]:
    if form == "jsonl":
        content = {"input": orjson.Fragment(example.input), "output": orjson.Fragment(example.output), "metadata": orjson.Fragment(example.meta)}
        return {**_ids(example), **content, "splits": splits.get(example.number, ())}
    asked, answered = orjson.loads(example.input), orjson.loads(example.output)
    messages, answers = _messages(asked), _messages(answered)
    if form == "openai_evals":
        ideal = answers[-1].get("content") if answers and isinstance(answers[-1], dict) else None
        return {"messages": messages, "ideal": ideal if isinstance(ideal, str) else ""}
    tools = {"tools": asked["tools"]} if asked.get("tools") else {}
    return {"messages": [*messages, *answers], **tools}


def _messages(content: Mapping[str, Any]) -> list[Any]:
    found = content.get("messages")
    return found if isinstance(found, list) else []


def file_headers(name: str, extension: str) -> dict[str, str]:
    """Headers that let a browser keep an answer as a file (RFC 6266)."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}.{extension}"}
