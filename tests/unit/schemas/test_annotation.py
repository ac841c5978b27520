"""Ids of annotations and what of their metadata can be stored."""

from typing import Any

import pytest

from schemas.annotation import Annotation, Key, metadata_text
from schemas.global_id import number_of
from schemas.tables.annotations import ANNOTATIONS


def test_an_id_follows_from_the_key() -> None:
    key = Key("span", "00f067aa0ba902b7", -1, "correctness", "")
    assert number_of(key.id, "SpanAnnotation") == 1_722_047_076_130_608 < 2**53
    others = [
        key._replace(target_id="0" * 16), key._replace(position=0), key._replace(name="c"), key._replace(identifier="x"), key._replace(trace_id="1"),
    ]  # fmt: skip
    assert len({key.id, *(other.id for other in others)}) == 6
    assert key._replace(name="correctness\x00", identifier="").id != key._replace(name="correctness", identifier="\x00").id


def test_a_row_has_what_the_block_is_made_of() -> None:
    annotation = Annotation(Key("trace", "ab", -1, "n", ""), "LLM", None, 0.5, None, "API", 1, 2, {"a": [1]})
    assert ANNOTATIONS.feed is not None
    assert set(annotation.row("tenant")) == set(ANNOTATIONS.feed.columns)
    assert annotation.row("tenant")["metadata"] == '{"a":[1]}' and annotation.row("tenant", deleted=True)["deleted"] == 1


def test_metadata_that_could_not_be_answered_again_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    for bad in (deep, {"n": 2**64}, {"n": object()}, {"text": "\ud800"}):
        with pytest.raises(ValueError, match="cannot be stored"):
            metadata_text(bad)
