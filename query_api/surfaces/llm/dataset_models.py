"""What requests and answers about datasets hold."""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field


class Dataset(BaseModel):
    """A dataset."""

    id: str
    name: str
    description: str | None
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    example_count: int
    """In the newest version."""


class OneDataset(BaseModel):
    """One dataset."""

    data: Dataset


class Datasets(BaseModel):
    """A page of datasets."""

    data: list[Dataset]
    next_cursor: str | None


class Version(BaseModel):
    """A version of a dataset."""

    version_id: str
    description: str | None
    metadata: dict[str, Any]
    created_at: datetime


class Versions(BaseModel):
    """A page of versions."""

    data: list[Version]
    next_cursor: str | None


class Source(BaseModel):
    """The span an example was made from."""

    span_id: str
    span_node_id: str


class Example(BaseModel):
    """An example."""

    id: str
    node_id: str
    input: dict[str, Any]
    output: dict[str, Any]
    metadata: dict[str, Any]
    updated_at: datetime
    source: Source | None


class HeldExamples(BaseModel):
    """The examples of a version."""

    dataset_id: str
    version_id: str
    filtered_splits: list[str]
    examples: list[Example]


class Examples(BaseModel):
    """The examples of a version, enveloped."""

    data: HeldExamples


class Written(BaseModel):
    """What an upload did."""

    dataset_id: str
    version_id: str
    num_created_examples: int
    num_updated_examples: int
    num_deleted_examples: int


class Uploaded(BaseModel):
    """What an upload did, enveloped."""

    data: Written


class NewSplit(BaseModel):
    """A split to create."""

    name: str = Field(min_length=1, max_length=300)
    description: str | None = Field(None, max_length=10_000)
    color: str | None = Field(None, min_length=1, max_length=64, examples=["#33c5e8"])
    metadata: dict[str, Any] = Field(default_factory=dict)
    example_ids: list[str] = Field(default_factory=list, max_length=100_000, description="GlobalIDs of the examples that belong to it.")


class SplitChanges(BaseModel):
    """What of a split changes; a field that is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=300)
    description: str | None = Field(None, max_length=10_000)
    color: str | None = Field(None, min_length=1, max_length=64)
    metadata: dict[str, Any] | None = None
    add_example_ids: list[str] = Field(default_factory=list, max_length=100_000)
    remove_example_ids: list[str] = Field(default_factory=list, max_length=100_000, description="Win over the added ones.")


class Split(BaseModel):
    """A split."""

    id: str
    name: str
    description: str | None
    color: str
    metadata: dict[str, Any]
    example_count: int
    created_at: datetime
    updated_at: datetime


class OneSplit(BaseModel):
    """One split."""

    data: Split


def _texts(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": description}


_ACTION: Final = {
    "type": "string",
    "enum": ["create", "append", "update"],
    "default": "create",
    "description": "create: the name is new. append: examples that are not named stay. update: the dataset becomes exactly what is sent.",
}
_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_NULLABLE_TEXTS: Final = {"type": "array", "items": {"type": ["string", "null"]}}
UPLOAD_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["name", "inputs"],
                "properties": {
                    "action": _ACTION,
                    "name": {"type": "string", "maxLength": 300},
                    "description": {"type": "string"},
                    "inputs": _OBJECTS,
                    "outputs": _OBJECTS,
                    "metadata": _OBJECTS,
                    "splits": {"type": "array", "items": {}, "description": "One per input: a name, a list of names, or null."},
                    "span_ids": {**_NULLABLE_TEXTS, "description": "The spans the examples were made from."},
                    "example_ids": {**_NULLABLE_TEXTS, "description": "Own ids: an example of the same id is changed instead of added."},
                },
                "example": {
                    "name": "questions",
                    "inputs": [{"question": "What is 2 + 2?"}],
                    "outputs": [{"answer": "4"}],
                    "metadata": [{"level": "easy"}],
                    "splits": ["train"],
                },
            }
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["name", "file"],
                "properties": {
                    "action": _ACTION,
                    "name": {"type": "string", "maxLength": 300},
                    "description": {"type": "string"},
                    "input_keys[]": _texts("Columns of the input."),
                    "output_keys[]": _texts("Columns of the output."),
                    "metadata_keys[]": _texts("Columns of the metadata."),
                    "split_key": {"type": "string", "description": "Column with the name of a split, or a JSON list of names."},
                    "split_keys[]": _texts("Columns with the name of one split each."),
                    "flatten_keys[]": _texts("Columns of objects whose members go where the column goes."),
                    "span_id_key": {"type": "string", "description": "Column with the span an example was made from."},
                    "example_id_key": {"type": "string", "description": "Column with the examples' own ids."},
                    "file": {"type": "string", "format": "binary", "description": "CSV, JSONL or an Arrow stream; the part may be gzipped."},
                },
            }
        },
    },
}
"""The body of an upload, which comes in two content types."""
