"""Models of the crucible surface: what is known of each model that experiments use."""

import secrets
from collections.abc import Mapping
from typing import Any, Final, Literal

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.access import Caller
from query_api.control.ml_models import MlModel, MlModelFilter, MlModelStore
from query_api.control.sorted_list import Sort
from query_api.domain.instants import instant
from query_api.domain.sorted_page import Listed, Wanted, listed
from query_api.parts import Parts
from schemas.secret_names import secrets_in

ModelStatus = Literal["active", "inactive", "deprecated"]
ModelSortField = Literal["name", "created_at", "updated_at", "status", "provider"]

_TIMES: Final[Mapping[str, str]] = {"created_at": "created_at_us", "updated_at": "updated_at_us"}


class MlModels:
    """The models of a tenant. Raises `Unavailable` without the control store."""

    def __init__(self, parts: Parts) -> None:
        self._store = MlModelStore(parts.control.engine, parts.clock)

    async def page(self, tenant: str, wanted: MlModelFilter, field: ModelSortField, descending: bool, page: Wanted) -> Listed:
        """One page. Raises ValidationFailed for a bad cursor."""
        sort = Sort(_TIMES.get(field, field), descending)
        found, total = await self._store.page(tenant, wanted, page.part(sort, of_text=field not in _TIMES))
        return listed(found, total, page, sort, model_json)

    async def get(self, tenant: str, id: str) -> MlModel:
        """Raises NotFound."""
        return _there(id, await self._store.get(tenant, id))

    async def create(self, caller: Caller, values: Mapping[str, Any]) -> MlModel:
        """Stores a model with this name, provider, type, config and status. Another may have the same name: ids tell them apart.

        Raises ValidationFailed for a config with secrets in it."""
        _check_config(values)
        return await self._store.create(caller.tenant, f"model_{secrets.token_hex(8)}", values, caller.actor)

    async def update(self, caller: Caller, id: str, values: Mapping[str, Any]) -> MlModel:
        """Changes the fields given; a config is replaced as a whole. Raises NotFound, and ValidationFailed for a config with secrets in it."""
        _check_config(values)
        return _there(id, await self._store.change(caller.tenant, id, values, caller.actor))

    async def delete(self, caller: Caller, id: str) -> None:
        """Telemetry that names it stays. Raises NotFound."""
        if not await self._store.remove(caller.tenant, id, caller.actor):
            raise _missing(id)


def model_json(model: MlModel) -> dict[str, Any]:
    """As the surface lists a model."""
    return {
        "id": model.id,
        "name": model.name,
        "provider": model.provider,
        "type": model.type,
        "config": model.config,
        "status": model.status,
        "created_at": instant(model.created_at_us),
        "updated_at": instant(model.updated_at_us),
    }


def _check_config(values: Mapping[str, Any]) -> None:
    # Whoever may read models reads their configs, and the audit log keeps them.
    found = sorted(secrets_in(values.get("config", {})))
    if found:
        messages = [f"{path} looks like a secret; name the environment variable that holds it: {path}_env" for path in found]
        raise ValidationFailed(f"a config is shown to every reader of models, so it holds no secrets: {'; '.join(messages)}", details={"config": messages})


def _there(id: str, found: MlModel | None) -> MlModel:
    if found is None:
        raise _missing(id)
    return found


def _missing(id: str) -> NotFound:
    return NotFound(f"there is no model {id[:100]}")
