"""Annotations of what is visible: those of a deleted span, trace or session are not found, and those of a moved trace are where it is now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

import orjson
from msgspec import Meta

from query_api.readers.conditions import Conditions
from query_api.readers.rows import Rows, integer
from query_api.readers.visible_spans import VisibleSpans
from schemas.annotation import Annotation, Key, Target

_COLUMN: Final[Mapping[Target, str]] = {"span": "span_id", "document": "span_id", "trace": "trace_id", "session": "session_id"}
"""Column of `spans` that holds the target's id."""
_AT_ONCE: Final = 500
"""Ids in one statement."""

_KNOWN: Final = "SELECT DISTINCT {column} AS id FROM spans WHERE {where} AND {column} IN {{ids:Array(String)}}"

# How many documents a span retrieved: one more than the highest number among its attributes. A list that came as one value is not counted.
_DOCUMENTS: Final = """
SELECT span_id AS id, max(if(mapContains(attributes, 'retrieval.documents'), 2147483647, arrayMax(arrayMap(
    name -> 1 + toInt32OrZero(splitByChar('.', name)[3]), arrayFilter(name -> match(name, '^(retrieval[.]documents|reranker[.]output_documents)[.]'), mapKeys(attributes))
)))) AS documents
FROM spans WHERE {where} AND span_id IN {{ids:Array(String)}} GROUP BY span_id
"""

_FIELDS: Final = """target, target_id, position, name, identifier, trace_id, annotator_kind, label, score, explanation, metadata, source, user_id,
       toUnixTimestamp64Micro(created) AS created_us, toUnixTimestamp64Micro(updated) AS updated_us"""
_OF_TARGET: Final = "tenant = {tenant:String} AND target = {target:String}"
_EXISTING: Final = f"""
SELECT {_FIELDS} FROM annotations FINAL
WHERE {_OF_TARGET} AND target_id IN {{ids:Array(String)}} AND name IN {{names:Array(String)}} AND deleted = 0
"""

# An annotation without a trace is about the target in whatever trace, one with a trace about the span of that trace.
_MATCHING: Final = """
FROM annotations FINAL
WHERE {chosen} AND deleted = 0 AND (target_id, trace_id) IN (SELECT {column}, arrayJoin(['', trace_id]) FROM spans WHERE {where} AND {column} IN {ids})
"""
_PAGE: Final = f"""
SELECT {_FIELDS} {{matching}}
ORDER BY created DESC, target_id DESC, position DESC, name DESC, identifier DESC, trace_id DESC
LIMIT {{{{limit:UInt32}}}}
"""
_NAMES: Final = "SELECT DISTINCT name {matching} ORDER BY name"
_AFTER: Final = """(created, target_id, position, name, identifier, trace_id)
      < (fromUnixTimestamp64Micro({after_created_us:Int64}, 'UTC'), {after_target_id:String}, {after_position:Int32}, {after_name:String},
         {after_identifier:String}, {after_trace_id:String})"""
_CONDITIONS: Final = {
    "target_ids": "target_id IN {target_ids:Array(String)}",
    "identifiers": "identifier IN {identifiers:Array(String)}",
    "names": "name IN {names:Array(String)}",
    "without_names": "name NOT IN {without_names:Array(String)}",
    "annotator_kind": "annotator_kind = {annotator_kind:String}",
    "created_from_us": "created >= fromUnixTimestamp64Micro({created_from_us:Int64}, 'UTC')",
    "created_before_us": "created < fromUnixTimestamp64Micro({created_before_us:Int64}, 'UTC')",
}


class Place(NamedTuple):
    """Place of an annotation in the list."""

    created_us: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    target_id: str
    position: Annotated[int, Meta(ge=-1, le=2**31 - 1)]
    name: str
    identifier: str
    trace_id: str

    @classmethod
    def of(cls, annotation: Annotation) -> "Place":
        key = annotation.key
        return cls(annotation.created_us, key.target_id, key.position, key.name, key.identifier, key.trace_id)


@dataclass(frozen=True)
class AnnotationFilter:
    """Which annotations; None leaves a field open."""

    target_ids: Sequence[str] | None = None
    identifiers: Sequence[str] | None = None
    names: Sequence[str] | None = None
    without_names: Sequence[str] | None = None
    annotator_kind: str | None = None
    created_from_us: int | None = None
    created_before_us: int | None = None
    """Those created before this."""

    def chosen(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name in _CONDITIONS if (value := getattr(self, name)) is not None}


class AnnotationReader:
    """Reads annotations and whether there is what they are about."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._visible = VisibleSpans(rows)

    async def known(self, tenant: str, target: Target, ids: Sequence[str]) -> set[str]:
        """Those of the ids that a visible span, trace or session of any project has."""
        visible = await self._visible.of_tenant(tenant)
        return {row["id"] for row in await self._by_ids(_KNOWN.format(column=_COLUMN[target], where=visible.where), visible.params, ids)}

    async def any_known(self, tenant: str, project: str, target: Target, ids: Sequence[str]) -> bool:
        """Whether one of the ids is in this project."""
        visible = await self._visible.of_project(tenant, project)
        return bool(await self._by_ids(_KNOWN.format(column=_COLUMN[target], where=visible.where), visible.params, ids))

    async def documents(self, tenant: str, span_ids: Sequence[str]) -> dict[str, int]:
        """How many documents each of these spans retrieved; spans that are not visible are left out."""
        visible = await self._visible.of_tenant(tenant)
        return {row["id"]: integer(row["documents"]) for row in await self._by_ids(_DOCUMENTS.format(where=visible.where), visible.params, span_ids)}

    async def existing(self, tenant: str, target: Target, keys: Iterable[Key]) -> list[Annotation]:
        """The annotations with these keys, and perhaps others of the same targets, whether the target is visible or not."""
        wanted, found = list(keys), dict[Key, Annotation]()
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            of = {"ids": list(dict.fromkeys(key.target_id for key in some)), "names": list(dict.fromkeys(key.name for key in some))}
            for row in await self._rows.query(_EXISTING, {"tenant": tenant, "target": target, **of}):
                annotation = _annotation(row)
                found[annotation.key] = annotation
        return list(found.values())

    async def page(self, tenant: str, project: str, target: Target, wanted: AnnotationFilter, *, limit: int, after: Place | None = None) -> list[Annotation]:
        """Up to `limit` annotations from behind a place on, the newest first by when they were created, which an update does not change."""
        sql, params = self._statement(_PAGE, tenant, target, wanted, await self._visible.of_project(tenant, project), after)
        return [_annotation(row) for row in await self._rows.query(sql, {**params, "limit": limit})]

    async def names(self, tenant: str, project: str, target: Target, wanted: AnnotationFilter) -> list[str]:
        """Names of the annotations, sorted."""
        sql, params = self._statement(_NAMES, tenant, target, wanted, await self._visible.of_project(tenant, project))
        return [row["name"] for row in await self._rows.query(sql, params)]

    def _statement(
        self, template: str, tenant: str, target: Target, wanted: AnnotationFilter, visible: Conditions, after: Place | None = None
    ) -> tuple[str, dict[str, Any]]:
        params = wanted.chosen()
        chosen = [_OF_TARGET, *(_CONDITIONS[name] for name in params)]
        ids = "{target_ids:Array(String)}" if wanted.target_ids is not None else f"(SELECT target_id FROM annotations WHERE {' AND '.join(chosen)})"
        if after is not None:
            chosen.append(_AFTER)
            params |= {f"after_{name}": value for name, value in after._asdict().items()}
        matching = _MATCHING.format(chosen=" AND ".join(chosen), column=_COLUMN[target], where=visible.where, ids=ids)
        return template.format(matching=matching), {**visible.params, **params, "tenant": tenant, "target": target}

    async def _by_ids(self, sql: str, params: Mapping[str, Any], ids: Sequence[str]) -> list[Mapping[str, Any]]:
        distinct = list(dict.fromkeys(ids))
        found: list[Mapping[str, Any]] = []
        for start in range(0, len(distinct), _AT_ONCE):
            found += await self._rows.query(sql, {**params, "ids": distinct[start : start + _AT_ONCE]})
        return found


def _annotation(row: Mapping[str, Any]) -> Annotation:
    return Annotation(
        key=Key(**{name: row[name] for name in Key._fields}),
        annotator_kind=row["annotator_kind"],
        label=row["label"],
        score=row["score"],
        explanation=row["explanation"],
        source=row["source"],
        created_us=integer(row["created_us"]),
        updated_us=integer(row["updated_us"]),
        metadata=orjson.loads(row["metadata"]),
        user_id=row["user_id"],
    )
