"""Annotations: written, listed and deleted. One of the same target, name and identifier replaces the one before."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from infra.runtime.errors import NotFound, NotVisibleYet, TooLarge, Unavailable, ValidationFailed
from query_api.access import Caller
from query_api.domain.cursor import decode_cursor, encode_cursor
from query_api.domain.projects import Projects
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.annotations import AnnotationFilter, AnnotationReader, Place
from query_api.surfaces.policy import Page
from schemas.annotation import Annotation, AnnotatorKind, Key, Target
from schemas.global_id import global_id, user_number
from schemas.position import Positions
from schemas.topics import ANNOTATIONS, SPANS
from schemas.windows import to_iso

_NOUNS: Final[dict[Target, str]] = {"span": "Spans", "document": "Spans", "trace": "Traces", "session": "Sessions"}
_ON_THE_WAY_S = 3.0
"""How long a target that is not there yet is waited for while acknowledged spans are still being stored; clients give up after 5 s."""
_DELETED_AT_ONCE = 10_000
_NONE: Final[Sequence[None]] = (None,)


@dataclass(frozen=True)
class Draft:
    """An annotation that somebody wants to write."""

    target_id: str
    name: str
    annotator_kind: AnnotatorKind
    label: str | None = None
    score: float | None = None
    explanation: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    identifier: str = ""
    position: int = -1
    """Of a document, its place in what was retrieved."""

    def key(self, target: Target) -> Key:
        return Key(target, self.target_id, self.position, self.name, self.identifier)


def malformed(target: Target, target_id: str) -> str:
    """What is wrong with the id of a target that may still come; empty when nothing is."""
    digits = {"trace": 32, "session": 0}.get(target, 16)
    return f"must be {digits} hex digits" if digits and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", target_id) else ""


class Annotations:
    """The annotations of a tenant."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reader = AnnotationReader(parts.rows)

    async def write(self, caller: Caller, target: Target, drafts: Sequence[Draft]) -> Positions:
        """Store annotations of what there is, or will be: they are seen as soon as their targets are. Returns their positions once Kafka has them.

        Of several with the same key the last one counts. With ClickHouse away they are stored as new ones. Raises TooLarge.
        """
        written = self._distinct(target, drafts)
        existing: list[Annotation] = []
        with suppress(Unavailable):
            existing = await self._reader.existing(caller.tenant, target, written)
        return await self._publish(caller, self._annotations(caller, written, existing))

    async def write_visible(self, caller: Caller, target: Target, drafts: Sequence[Draft]) -> tuple[list[str], Positions]:
        """Store annotations of what there is, wait until reads see them, and return their ids in the order of the drafts.

        Raises NotFound naming the targets that do not exist, ValidationFailed for a document the span did not retrieve, TooLarge and NotVisibleYet.
        """
        written = self._distinct(target, drafts)
        await self._check_targets(caller.tenant, target, written)
        existing = await self._reader.existing(caller.tenant, target, written)
        annotations = self._annotations(caller, written, existing)
        positions = await self._publish(caller, annotations)
        await self._parts.writer.visible(positions)
        ids = {_without_trace(each.key): each.key.id for each in reversed(annotations)}
        return [ids[draft.key(target)] for draft in drafts], positions

    async def page(
        self, tenant: str, project_identifier: str, target: Target, wanted: AnnotationFilter, *, limit: int, cursor: str | None, watermark: Positions
    ) -> Page:
        """One page, newest first. Raises NotFound for the project, and when only targets were asked for and none of them is in it."""
        project = await Projects(self._parts).get(tenant, project_identifier)
        after = decode_cursor(cursor, Place) if cursor else None
        found = await self._reader.page(tenant, project.name, target, wanted, limit=limit + 1, after=after)
        only_targets = wanted.target_ids if wanted.identifiers is None else None
        if not found and only_targets and not await self._reader.any_known(tenant, project.name, target, only_targets):
            raise NotFound(f"None of the supplied {noun(target)}_ids exist in this project")
        page = found[:limit]
        following = encode_cursor(Place.of(page[-1])) if len(found) > limit else None
        return Page([annotation_json(each) for each in page], following, watermark)

    async def delete(self, caller: Caller, project_identifier: str, target: Target, wanted: AnnotationFilter) -> None:
        """Delete every annotation of the project's visible targets that is wanted; reads do not see them any more afterwards."""
        project = await Projects(self._parts).get(caller.tenant, project_identifier)
        after: Place | None = None
        while found := await self._reader.page(caller.tenant, project.name, target, wanted, limit=_DELETED_AT_ONCE, after=after):
            now = self._parts.clock.now_us()
            rows = [replace(each, updated_us=max(now, each.updated_us + 1)).row(caller.tenant, deleted=True) for each in found]
            await self._parts.writer.visible(await self._parts.writer.write(ANNOTATIONS, rows))
            after = Place.of(found[-1])

    def _distinct(self, target: Target, drafts: Sequence[Draft]) -> dict[Key, Draft]:
        limits = self._parts.settings.ingest
        if len(drafts) > limits.max_rows:
            raise TooLarge(f"The request has {len(drafts)} annotations; the limit is {limits.max_rows}. Send fewer at once.")
        return {draft.key(target): draft for draft in drafts}

    async def _check_targets(self, tenant: str, target: Target, written: dict[Key, Draft]) -> None:
        ids = {key.target_id for key in written}
        if missing := await self._missing(tenant, target, ids):
            raise NotFound(f"{_NOUNS[target]} with IDs {', '.join(sorted(missing))} do not exist.", details={"missing": sorted(missing)})
        if target == "document":
            retrieved = await self._reader.documents(tenant, sorted(ids))
            for key in written:
                if key.position >= (count := retrieved.get(key.target_id, 0)):
                    raise ValidationFailed(
                        f"Document position {key.position} is out of bounds for span {key.target_id}: it retrieved {count} documents, counted from 0"
                    )

    async def _missing(self, tenant: str, target: Target, ids: set[str]) -> set[str]:
        missing = ids - await self._reader.known(tenant, target, sorted(ids))
        if missing:
            # What was acknowledged exists, though it may be on its way still.
            ends = await self._parts.broker.ends([SPANS.name])
            acknowledged = {place: end - 1 for place, end in ends.items() if end}
            with suppress(NotVisibleYet):
                await self._parts.freshness.raw(Wait(acknowledged, _ON_THE_WAY_S))
            missing -= await self._reader.known(tenant, target, sorted(missing))
        return missing

    def _annotations(self, caller: Caller, written: dict[Key, Draft], existing: Sequence[Annotation]) -> list[Annotation]:
        """What to store. One that a span carried, and so has its trace in its key, is replaced where it is."""
        before: dict[Key, list[Annotation]] = {}
        for each in existing:
            before.setdefault(_without_trace(each.key), []).append(each)
        now = self._parts.clock.now_us()
        return [
            Annotation(
                key=old.key if old else key,
                annotator_kind=draft.annotator_kind,
                label=draft.label or None,
                score=draft.score,
                explanation=draft.explanation or None,
                source="API",
                created_us=old.created_us if old else now,
                updated_us=max(now, old.updated_us + 1) if old else now,
                metadata=draft.metadata,
                user_id=caller.user,
            )
            for key, draft in written.items()
            for old in before.get(key, _NONE)
        ]

    async def _publish(self, caller: Caller, annotations: Sequence[Annotation]) -> Positions:
        limit = self._parts.settings.ingest.max_body_bytes
        if sum(each.size for each in annotations) > limit:
            raise TooLarge(f"The texts of the annotations are over the limit of {limit} bytes. Send fewer at once.")
        return await self._parts.writer.write(ANNOTATIONS, [each.row(caller.tenant) for each in annotations])


def annotation_json(annotation: Annotation) -> dict[str, Any]:
    """As the surface shows an annotation."""
    key = annotation.key
    return {
        "id": key.id,
        f"{noun(key.target)}_id": key.target_id,
        **({"document_position": key.position} if key.target == "document" else {}),
        "name": key.name,
        "annotator_kind": annotation.annotator_kind,
        "result": {"label": annotation.label, "score": annotation.score, "explanation": annotation.explanation},
        "metadata": annotation.metadata,
        "identifier": key.identifier,
        "source": annotation.source,
        "created_at": to_iso(annotation.created_us),
        "updated_at": to_iso(annotation.updated_us),
        "user_id": global_id("User", user_number(annotation.user_id)) if annotation.user_id else None,
    }


def noun(target: Target) -> str:
    """What the id of a target is the id of."""
    return "span" if target == "document" else target


def _without_trace(key: Key) -> Key:
    return key._replace(trace_id="")
