"""Evaluations as Arrow streams, in the layout in which earlier clients of Arize Phoenix send and read them.

A stream is a pandas DataFrame of one evaluation: score, label and explanation by span, by trace, or by span and place of a document. Its
name and what it is about stand as JSON under `arize` in the metadata of the schema.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from math import isnan
from typing import Any, Final, NamedTuple, cast
from uuid import uuid4

import orjson
import pyarrow as pa

from infra.runtime.errors import TooLarge, ValidationFailed
from query_api.domain.annotations import Draft
from schemas.annotation import Annotation, Target

TYPES: Final[Mapping[str, Target]] = {"TraceEvaluations": "trace", "SpanEvaluations": "span", "DocumentEvaluations": "document"}
"""Kinds of evaluations in the order in which they are served, and what each is about."""
_INDEX: Final[Mapping[Target, Sequence[Sequence[str]]]] = {
    "trace": (("context.trace_id", "trace_id"),),
    "span": (("context.span_id", "span_id"),),
    "document": (("context.span_id", "span_id"), ("document_position", "position")),
}
"""Columns that name the target, each with the names it may have; the first one is written."""
_RESULTS: Final = {"score": pa.float64(), "label": pa.string(), "explanation": pa.string()}
_COMPRESSION = 3
"""Place of the field `compression` in Arrow's RecordBatch (format/Message.fbs)."""


class Read(NamedTuple):
    """What a stream holds."""

    target: Target
    drafts: list[Draft]


def read(body: bytes, max_rows: int, max_bytes: int) -> Read:
    """Reads a stream. Raises ValidationFailed for what is no stream of evaluations and TooLarge beyond the limits.

    Costs no more memory than the body and its rows: batches that are compressed, and so may be of any size, are refused.
    """
    try:
        schema, batches = _batches(body, max_rows)
        target, name = _meaning(schema)
        drafts = [draft for batch in batches for draft in _drafts(batch, target, name)]
    except (pa.ArrowException, OSError, LookupError, ValueError, OverflowError, struct.error) as error:
        raise ValidationFailed(f"Request body is not valid pyarrow: {error}") from error
    if sum(len(draft.label or "") + len(draft.explanation or "") for draft in drafts) > max_bytes:
        raise TooLarge(f"The evaluations have more than {max_bytes} characters. Send fewer at once.")
    return Read(target, drafts)


def _batches(body: bytes, max_rows: int) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    for message in pa.ipc.MessageReader.open_stream(body):
        if message.type in ("record batch", "dictionary") and _compressed(message.metadata.to_pybytes(), message.type == "dictionary"):
            raise ValidationFailed("Invalid data in request body: send the Arrow stream with uncompressed batches")
    batches, rows = [], 0
    with pa.ipc.open_stream(body) as reader:
        for batch in reader:
            rows += batch.num_rows
            if rows > max_rows:
                raise TooLarge(f"The stream has more than {max_rows} evaluations. Send fewer at once.")
            batch.validate(full=True)
            batches.append(batch)
        return reader.schema, batches


def _compressed(header: bytes, of_dictionary: bool) -> bool:
    """Whether a message's flatbuffer says that its buffers are compressed; Arrow's own reader has no way to ask."""

    def field(table: int, index: int) -> int:
        """Where a field of a table begins; 0 when it is absent."""
        vtable = table - struct.unpack_from("<i", header, table)[0]
        place = 4 + 2 * index
        offset = struct.unpack_from("<H", header, vtable + place)[0] if place < struct.unpack_from("<H", header, vtable)[0] else 0
        return table + offset if offset else 0

    def follow(place: int) -> int:
        return place + int(struct.unpack_from("<I", header, place)[0])

    batch = follow(field(follow(0), 2))
    return field(follow(field(batch, 1)) if of_dictionary else batch, _COMPRESSION) != 0


def _meaning(schema: pa.Schema) -> tuple[Target, str]:
    try:
        meaning = orjson.loads((schema.metadata or {}).get(b"arize", b""))
        kind, name = meaning["eval_type"], meaning["eval_name"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        raise ValidationFailed("Invalid data in request body: the schema's metadata needs `arize` with eval_name and eval_type") from None
    if not isinstance(name, str) or not name.strip():
        raise ValidationFailed("Evaluation name must not be blank/empty")
    if kind not in TYPES:
        raise ValidationFailed(f"Invalid data in request body: eval_type must be one of {', '.join(TYPES)}")
    return TYPES[kind], name


def _drafts(batch: pa.RecordBatch, target: Target, name: str) -> Iterator[Draft]:
    ids, *positions = (_index(batch, names) for names in _INDEX[target])
    scores, labels, explanations = (_column(batch, (field,)) for field in _RESULTS)
    if scores is labels is explanations is None:
        raise ValidationFailed(f"Invalid data in request body: at least one of the columns {', '.join(_RESULTS)} is needed")
    nothing = [None] * batch.num_rows
    for target_id, position, score, label, explanation in zip(
        _texts(ids), _numbers(positions[0]) if positions else [-1] * batch.num_rows,
        _numbers(scores) if scores else nothing, _texts(labels) if labels else nothing, _texts(explanations) if explanations else nothing, strict=True,
    ):  # fmt: skip
        if target_id is None or position is None:
            raise ValidationFailed("Invalid data in request body: an evaluation does not say what it is about")
        if score is not None and isnan(score):
            score = None
        if score is not None or label or explanation:
            yield Draft(target_id.lower(), name, "LLM", label, score, explanation, position=int(position))


def _index(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    column = _column(batch, names)
    if column is None:
        raise ValidationFailed(f"Invalid data in request body: the column {names[0]} is missing")
    return column


def _column(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Array | None:
    return next((batch.column(name) for name in names if name in batch.schema.names), None)


def _texts(column: pa.Array) -> list[str | None]:
    kind = column.type
    if pa.types.is_null(kind):
        return [None] * len(column)
    if pa.types.is_dictionary(kind) and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
        words = column.dictionary.to_pylist()
        return [None if index is None else words[index] for index in column.indices.to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return cast(list[str | None], column.to_pylist())
    raise ValidationFailed(f"Invalid data in request body: a column of type {kind} should hold texts")


def _numbers(column: pa.Array) -> list[float | None]:
    kind = column.type
    if pa.types.is_null(kind):
        return [None] * len(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return [None if number is None else float(number) for number in column.to_pylist()]
    raise ValidationFailed(f"Invalid data in request body: a column of type {kind} should hold numbers")


class EvaluationStream:
    """Makes the stream of one evaluation, piece by piece."""

    def __init__(self, target: Target, name: str) -> None:
        index = [names[0] for names in _INDEX[target]]
        columns = {index[0]: pa.string(), **dict.fromkeys(index[1:], pa.int64()), **_RESULTS}
        meaning = {"eval_id": str(uuid4()), "eval_name": name, "eval_type": next(kind for kind, about in TYPES.items() if about == target)}
        self._schema = pa.schema(list(columns.items()), metadata={"pandas": orjson.dumps(_pandas(columns, index)), "arize": orjson.dumps(meaning)})
        self._sink = BytesIO()
        self._writer = pa.ipc.new_stream(self._sink, self._schema)

    def piece(self, annotations: Sequence[Annotation]) -> bytes:
        """The bytes that add these; with those of the head when they are the first."""
        places = [[each.key.target_id for each in annotations], [each.key.position for each in annotations]][: len(self._schema) - len(_RESULTS)]
        results = [[getattr(each, name) for each in annotations] for name in _RESULTS]
        arrays = [pa.array(values, kind) for values, kind in zip((*places, *results), self._schema.types, strict=True)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        return self._taken()

    def end(self) -> bytes:
        """The last bytes."""
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        taken = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return taken


def _pandas(columns: Mapping[str, pa.DataType], index: Sequence[str]) -> dict[str, Any]:
    """What pandas needs to make the frame with its index again."""
    types = {pa.string(): ("unicode", "object"), pa.float64(): ("float64", "float64"), pa.int64(): ("int64", "int64")}
    described = [
        {"name": name, "field_name": name, "pandas_type": types[kind][0], "numpy_type": types[kind][1], "metadata": None} for name, kind in columns.items()
    ]
    return {"index_columns": list(index), "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
