"""What an upload changes in a dataset: which examples are new, changed, as they were, or gone. Nothing is read or written here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from infra.runtime.errors import ValidationFailed
from schemas.global_id import number_of

Action = Literal["create", "append", "update"]
"""create: a dataset of a new name; append: what is not named stays; update: the dataset becomes exactly what is uploaded."""

_NAMED = 5
"""Ids an error names at most."""


class NewExample(NamedTuple):
    """An example of an upload. The texts are JSON objects."""

    input: str
    output: str
    meta: str
    digest: str
    splits: frozenset[str] = frozenset()
    external_id: str | None = None
    """Its author's id, or the GlobalID of a stored example."""
    trace_id: str | None = None
    span_id: str | None = None


class StoredExample(NamedTuple):
    """An example that the dataset has or had."""

    number: int
    external_id: str | None
    digest: str | None
    """Empty when the newest version does not hold it."""


class Placed(NamedTuple):
    """An example of an upload and the number it has in the store."""

    number: int
    example: NewExample


@dataclass
class Plan:
    """What to write. Every example of the upload is in exactly one of the first four lists."""

    made: list[Placed] = field(default_factory=list)
    """Never seen before; numbered behind all others."""
    revived: list[Placed] = field(default_factory=list)
    """Not in the newest version, but in an older one under the same id."""
    changed: list[Placed] = field(default_factory=list)
    same: list[Placed] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)

    @property
    def created(self) -> list[Placed]:
        """What the next version has and the newest does not."""
        return [*self.made, *self.revived]

    @property
    def is_empty(self) -> bool:
        """Whether the examples stay as they are, so that there is nothing to make a version of."""
        return not (self.made or self.revived or self.changed or self.gone)


def plan(stored: Sequence[StoredExample], uploaded: Sequence[NewExample], action: Action, next_number: int) -> Plan:
    """Match an upload with what is stored.

    An example with an id is the stored one of that id, and a new one when there is none; without an id it is a stored one of the
    same content that nothing else in the upload is, and a new one when there is none. Raises ValidationFailed for a GlobalID that
    names no example of the newest version and for two that are the same one.
    """
    live = {each.number: each for each in stored if each.digest is not None}
    by_id = {each.external_id: each for each in stored if each.external_id is not None}
    by_content: dict[str, list[int]] = {}
    for each in reversed(list(live.values())):
        by_content.setdefault(each.digest or "", []).append(each.number)
    result, taken, unknown = Plan(), set[int](), list[str]()

    named: list[tuple[NewExample, StoredExample | None]] = []
    for example in uploaded:
        found = None
        if example.external_id is not None:
            number = number_of(example.external_id, "DatasetExample")
            found = by_id.get(example.external_id) if number is None else live.get(number)
            if number is not None and found is None:
                unknown.append(example.external_id)
            if found is not None and found.number in taken:
                raise ValidationFailed(f"Duplicate example_id in request: {example.external_id!r}. Every example can be given once.")
            if found is not None:
                taken.add(found.number)
        named.append((example, found))
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise ValidationFailed(f"No examples found in this dataset with the following IDs: {', '.join(unknown[:_NAMED])}{more}")

    for example, found in named:
        if example.external_id is None:
            candidates = by_content.get(example.digest, [])
            while candidates and candidates[-1] in taken:
                candidates.pop()
            if candidates:
                found = live[candidates.pop()]
                taken.add(found.number)
        if found is None:
            result.made.append(Placed(next_number + len(result.made), example))
        elif found.digest is None:
            result.revived.append(Placed(found.number, example))
        else:
            (result.same if found.digest == example.digest else result.changed).append(Placed(found.number, example))
    if action != "append":
        result.gone = [number for number in live if number not in taken]
    return result
