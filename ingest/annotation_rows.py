"""Annotations found by ingest, put together into one block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.runtime.clock import Clock
from schemas.annotation import Annotation
from schemas.blocks import Block
from schemas.row_block import row_block
from schemas.topics import ANNOTATIONS


@dataclass(frozen=True)
class AnnotationRows:
    """The annotations of one request."""

    tenant: str
    annotations: Sequence[Annotation]

    @property
    def rows(self) -> int:
        return len(self.annotations)

    @property
    def size(self) -> int:
        """Characters of their texts; metadata came in the same request and is not larger than it."""
        return sum(each.size for each in self.annotations)


def assembler(clock: Clock) -> Callable[[Sequence[AnnotationRows], str], Block]:
    """How group commit makes an `annotations/1` block of several requests' annotations."""

    def assemble(parts: Sequence[AnnotationRows], batch_id: str) -> Block:
        rows = [each.row(part.tenant) for part in parts for each in part.annotations]
        return row_block(ANNOTATIONS, rows, batch_id, clock.now_us())

    return assemble
