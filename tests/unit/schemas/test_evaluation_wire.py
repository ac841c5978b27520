"""The evaluation message, against bytes written down by hand from the published field numbers."""

import struct

from schemas.evaluation_wire import Evaluation

SPAN = b"00f067aa0ba902b7"


def field(number: int, payload: bytes) -> bytes:
    """A field of wire type 2."""
    return bytes([number << 3 | 2, len(payload)]) + payload


SCORE = field(1, b"\x09" + struct.pack("<d", 0.25))
RESULT = field(3, SCORE + field(2, field(1, b"good")) + field(3, field(1, b"why")))


def test_fields() -> None:
    message = Evaluation.FromString(field(1, b"tone") + field(2, field(2, SPAN)) + RESULT)
    assert message.name == "tone" and message.subject_id.WhichOneof("kind") == "span_id" and message.subject_id.span_id == SPAN.decode()
    assert (message.result.score.value, message.result.label.value, message.result.explanation.value) == (0.25, "good", "why")


def test_subjects_exclude_each_other() -> None:
    document = field(3, field(1, SPAN) + b"\x10\x07")
    message = Evaluation.FromString(field(1, b"tone") + field(2, field(1, b"trace") + document) + field(3, SCORE))
    assert message.subject_id.WhichOneof("kind") == "document_retrieval_id" and message.subject_id.document_retrieval_id.document_position == 7
    assert message.result.HasField("score") and not message.result.HasField("label")


def test_a_score_of_zero_is_a_score() -> None:
    assert Evaluation.FromString(field(3, field(1, b""))).result.HasField("score")
