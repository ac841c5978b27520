"""Experiments on datasets: created, listed, described, resumed and deleted."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from infra.runtime.errors import ValidationFailed
from query_api.access import Caller
from query_api.control.datasets import DatasetStore
from query_api.control.llm_experiments import Experiment, ExperimentStore
from query_api.domain.dataset_upload import plain
from query_api.domain.datasets import Datasets, delete_project, example_json
from query_api.domain.json_text import json_text
from query_api.domain.llm_ids import first_in, number_in, page_of, unknown
from query_api.domain.projects import Projects
from query_api.parts import Parts
from query_api.surfaces.policy import Page
from schemas.global_id import global_id
from schemas.windows import to_iso

PROJECT_PREFIX: Final = "Experiment-"
_NAME_FROM_DATASET: Final = 40


class LlmExperiments:
    """The experiments of tenants."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._datasets = Datasets(parts)
        self._examples = DatasetStore(parts.control.engine, parts.clock)
        self._store = ExperimentStore(parts.control.engine, parts.clock)

    async def create(self, caller: Caller, dataset: str, values: Mapping[str, Any]) -> Experiment:
        """Stores an experiment on the examples that a version holds now, and the hidden project for the traces of its task. Raises NotFound and
        ValidationFailed."""
        found = await self._datasets.get(caller.tenant, dataset)
        version = await self._datasets.version(found, values["version_id"])
        splits = await self._datasets.split_numbers(caller.tenant, values["splits"] or ())
        fields = {
            "dataset": found.number,
            "version": version.number,
            "name": _name(values["name"] or f"{found.name[:_NAME_FROM_DATASET].replace(' ', '-')}-{secrets.token_hex(4)}"),
            "description": _description(values["description"]),
            "repetitions": values["repetitions"],
            "meta": json_text(values["metadata"] or {}, "metadata"),
            "project_name": PROJECT_PREFIX + secrets.token_hex(12),
        }
        about = f"Traces of the experiment {fields['name']!r} on the dataset {found.name!r}"
        await Projects(self._parts).create(caller, fields["project_name"], about, of_experiment=True)
        return await self._store.create(caller.tenant, fields, list(splits) if values["splits"] is not None else None, caller.actor)

    async def page(self, tenant: str, dataset: str, *, limit: int, cursor: str | None) -> Page:
        """One page, the newest experiment first. Raises NotFound and ValidationFailed."""
        found = await self._datasets.get(tenant, dataset)
        stored = await self._store.of_dataset(found.number, first=first_in(cursor, "Experiment"), limit=limit + 1)
        return page_of(stored, limit, "Experiment", experiment_json)

    async def get(self, tenant: str, identifier: str) -> Experiment:
        """The experiment with this GlobalID. Raises NotFound and ValidationFailed."""
        number = number_in(identifier, "Experiment")
        found = await self._store.by_number(tenant, number)
        if found is None:
            raise unknown("Experiment", number)
        return found

    async def change(self, caller: Caller, identifier: str, values: Mapping[str, Any]) -> Experiment:
        """Changes name, description or metadata. Raises NotFound, and ValidationFailed when there is nothing to change."""
        experiment = await self.get(caller.tenant, identifier)
        if not values:
            raise ValidationFailed("No fields to update: send name, description or metadata.")
        fields: dict[str, Any] = {}
        if "name" in values:
            fields["name"] = _name(values["name"])
        if "description" in values:
            fields["description"] = _description(values["description"])
        if "metadata" in values:
            fields["meta"] = json_text(values["metadata"], "metadata")
        return await self._store.change(experiment, fields, caller.actor)

    async def delete(self, caller: Caller, identifier: str, *, with_project: bool) -> None:
        """Deletes an experiment with its runs, and the traces of its task when asked to. Raises NotFound."""
        experiment = await self.get(caller.tenant, identifier)
        if with_project:
            await delete_project(self._parts, caller, experiment.project_name)
        await self._store.remove(experiment, caller.actor)

    async def incomplete_runs(self, tenant: str, identifier: str, *, limit: int, cursor: str | None) -> Page:
        """Examples and the repetitions of each that have no successful run, by example. Raises NotFound and ValidationFailed."""
        experiment = await self.get(tenant, identifier)
        found = await self._store.incomplete(experiment, first=first_in(cursor, "DatasetExample"), limit=limit + 1)
        following = global_id("DatasetExample", found[limit][0]) if len(found) > limit else None
        shown = await self.examples(experiment, [example for example, _ in found[:limit]])
        return Page([{"dataset_example": shown[example], "repetition_numbers": numbers} for example, numbers in found[:limit]], following)

    async def examples(self, experiment: Experiment, numbers: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
        """Some (few) examples as the experiment saw them, by number."""
        held = await self._examples.examples(experiment.dataset, experiment.version, numbers=numbers)
        return {each.number: example_json(each) for each in held}


def _name(text: str) -> str:
    name = plain(text.strip(), "name", 300)
    if not name:
        raise ValidationFailed("name: cannot be empty")
    return name


def _description(text: str | None) -> str | None:
    return plain(text, "description") if text else None


def experiment_json(experiment: Experiment) -> dict[str, Any]:
    """As the surface shows an experiment."""
    return {
        "id": global_id("Experiment", experiment.number),
        "dataset_id": global_id("Dataset", experiment.dataset),
        "dataset_version_id": global_id("DatasetVersion", experiment.version),
        "name": experiment.name,
        "description": experiment.description,
        "repetitions": experiment.repetitions,
        "metadata": orjson.Fragment(experiment.meta),
        "project_name": experiment.project_name,
        "created_at": to_iso(experiment.created_at_us),
        "updated_at": to_iso(experiment.updated_at_us),
        "example_count": experiment.example_count,
        "successful_run_count": experiment.successful_runs,
        "failed_run_count": experiment.failed_runs,
        "missing_run_count": experiment.missing_runs,
    }
