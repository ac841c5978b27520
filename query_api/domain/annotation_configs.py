"""Annotation configurations: what the values of an annotation of some name may be, for whoever writes it by hand. They refuse no annotation."""

from collections.abc import Mapping
from typing import Any, Final

from infra.runtime.errors import Conflict, NotFound, ValidationFailed
from query_api.access import Caller
from query_api.control.annotation_configs import AnnotationConfig, AnnotationConfigStore
from query_api.domain.llm_ids import first_in, page_of, row_number
from query_api.parts import Parts
from query_api.surfaces.policy import Page
from schemas.annotation import NOTE
from schemas.global_id import IdType, global_id, parse

_TYPES: Final[Mapping[str, IdType]] = {
    "CATEGORICAL": "CategoricalAnnotationConfig",
    "CONTINUOUS": "ContinuousAnnotationConfig",
    "FREEFORM": "FreeformAnnotationConfig",
}


class AnnotationConfigs:
    """The configurations of a tenant. The type of one may change, and with it the type in its GlobalID; the number stays, and ids given before go on."""

    def __init__(self, parts: Parts) -> None:
        self._store = AnnotationConfigStore(parts.control.engine, parts.clock)

    async def page(self, tenant: str, *, limit: int, cursor: str | None) -> Page:
        """One page, the newest first. Raises ValidationFailed for a bad cursor."""
        found = await self._store.of_tenant(tenant, first_in(cursor, *_TYPES.values()), limit + 1)
        return page_of(found, limit, lambda config: _TYPES[config.body["type"]], config_json)

    async def get(self, tenant: str, identifier: str) -> AnnotationConfig:
        """The configuration with this GlobalID or name. Raises NotFound."""
        number = row_number(identifier, *_TYPES.values())
        found = await (self._store.by_name(tenant, identifier) if number is None else self._store.by_number(tenant, number))
        if found is None:
            raise NotFound("Annotation configuration not found")
        return found

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> AnnotationConfig:
        """Stores a configuration. Raises Conflict for a name that is taken or that of notes."""
        return await self._store.create(caller.tenant, _allowed(body), caller.actor)

    async def replace(self, caller: Caller, config_id: str, body: Mapping[str, Any]) -> AnnotationConfig:
        """Stores another body. Raises like `create`, NotFound, and ValidationFailed for what is no GlobalID."""
        return await self._store.replace(await self._by_id(caller.tenant, config_id), _allowed(body), caller.actor)

    async def delete(self, caller: Caller, config_id: str) -> AnnotationConfig:
        """Deletes a configuration and gives it as it was. Raises NotFound, and ValidationFailed for what is no GlobalID."""
        config = await self._by_id(caller.tenant, config_id)
        await self._store.remove(config, caller.actor)
        return config

    async def _by_id(self, tenant: str, config_id: str) -> AnnotationConfig:
        if parse(config_id) is None:
            raise ValidationFailed(f"Invalid annotation configuration ID: {config_id[:100]}; to change or delete one, give its GlobalID")
        return await self.get(tenant, config_id)


def config_json(config: AnnotationConfig) -> dict[str, Any]:
    """As the surface shows a configuration."""
    return {"id": _id(config), **config.body}


def _id(config: AnnotationConfig) -> str:
    return global_id(_TYPES[config.body["type"]], config.number)


def _allowed(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if body["name"] == NOTE:
        raise Conflict(f"The name {NOTE!r} is reserved for notes")
    return body
