"""Splits of datasets: created, changed and deleted."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from infra.runtime.errors import ValidationFailed
from query_api.control.splits import Split, SplitStore
from query_api.domain.dataset_upload import plain
from query_api.domain.datasets import Datasets
from query_api.domain.json_text import json_text
from query_api.domain.llm_ids import number_in, unknown
from query_api.parts import Parts
from schemas.global_id import global_id
from schemas.windows import to_iso

DEFAULT_COLOR = "#33c5e8"


class DatasetSplits:
    """The splits of tenants. A split may hold examples of several datasets; each request is about those of one."""

    def __init__(self, parts: Parts) -> None:
        self._datasets = Datasets(parts)
        self._store = SplitStore(parts.control.engine, parts.clock)

    async def create(self, tenant: str, dataset: str, values: Mapping[str, Any], examples: Sequence[str]) -> dict[str, Any]:
        """Stores a split. Raises Conflict when there is one of this name, NotFound and ValidationFailed."""
        numbers = _numbers(examples)
        found = await self._datasets.named(tenant, dataset)
        fields = _fields({"description": None, **values, "color": values.get("color") or DEFAULT_COLOR})
        split = await self._store.create(tenant, found.number, numbers, fields)
        return split_json(split, len(numbers))

    async def change(self, tenant: str, dataset: str, split: str, values: Mapping[str, Any], add: Sequence[str], remove: Sequence[str]) -> dict[str, Any]:
        """Changes fields and members of a split. Raises like `create`."""
        found, stored = await self._datasets.named(tenant, dataset), await self._get(tenant, split)
        for field in ("name", "color"):
            if values.get(field, "") is None:
                raise ValidationFailed(f"Dataset split {field} cannot be empty")
        fields = _fields({name: value for name, value in values.items() if name != "metadata" or value is not None})
        after = await self._store.change(stored, found.number, fields, _numbers(add), _numbers(remove))
        return split_json(after, await self._store.count(after.number, found.number))

    async def delete(self, tenant: str, dataset: str, split: str) -> None:
        """Deletes a split; its examples stay. Raises NotFound and ValidationFailed."""
        await self._datasets.named(tenant, dataset)
        await self._store.remove(await self._get(tenant, split))

    async def _get(self, tenant: str, identifier: str) -> Split:
        number = number_in(identifier, "DatasetSplit")
        found = next((each for each in await self._store.of_tenant(tenant) if each.number == number), None)
        if found is None:
            raise unknown("DatasetSplit", number)
        return found


def _numbers(identifiers: Sequence[str]) -> list[int]:
    return list(dict.fromkeys(number_in(each, "DatasetExample") for each in identifiers))


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: plain(value.strip(), name) if isinstance(value, str) else value for name, value in values.items() if name != "metadata"}
    if any(fields.get(name, "there") == "" for name in ("name", "color")):
        raise ValidationFailed("Dataset split name and color cannot be empty")
    return fields | ({"meta": json_text(values["metadata"], "metadata")} if "metadata" in values else {})


def split_json(split: Split, example_count: int) -> dict[str, Any]:
    """As the surface shows a split."""
    return {
        "id": global_id("DatasetSplit", split.number),
        "name": split.name,
        "description": split.description,
        "color": split.color,
        "metadata": orjson.Fragment(split.meta),
        "example_count": example_count,
        "created_at": to_iso(split.created_at_us),
        "updated_at": to_iso(split.updated_at_us),
    }
