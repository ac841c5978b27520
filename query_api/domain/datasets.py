"""Datasets: listed, read in any version, uploaded into, split and deleted."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from infra.runtime.errors import NotFound, QueryLimit, Unavailable
from query_api.access import Caller
from query_api.control.dataset_plan import NewExample
from query_api.control.dataset_writes import DatasetWriter, Written
from query_api.control.datasets import Dataset, DatasetStore, Example, Version
from query_api.control.llm_experiments import ExperimentStore
from query_api.control.splits import SplitStore
from query_api.domain.dataset_upload import Upload
from query_api.domain.llm_ids import first_in, number_in, page_of, unknown
from query_api.domain.projects import Projects
from query_api.parts import Parts
from query_api.readers.span_traces import SpanTraces
from query_api.surfaces.policy import Page
from schemas.global_id import global_id, parse, span_ids, span_number
from schemas.windows import to_iso


class Held(NamedTuple):
    """What a version of a dataset holds."""

    dataset: Dataset
    version: Version
    splits: Sequence[str]
    """Names of the splits it was narrowed to."""
    examples: Sequence[Example]


class Datasets:
    """The datasets of tenants."""

    def __init__(self, parts: Parts) -> None:
        engine, clock = parts.control.engine, parts.clock
        self._parts = parts
        self._store = DatasetStore(engine, clock)
        self._writer = DatasetWriter(engine, clock)
        self._splits = SplitStore(engine, clock)
        self._experiments = ExperimentStore(engine, clock)
        self._traces = SpanTraces(parts.rows)

    async def page(self, tenant: str, *, name: str | None, limit: int, cursor: str | None) -> Page:
        """One page, the newest dataset first. Raises ValidationFailed for a bad cursor."""
        found = await self._store.page(tenant, name=name, first=first_in(cursor, "Dataset"), limit=limit + 1)
        return page_of(found, limit, "Dataset", dataset_json)

    async def get(self, tenant: str, identifier: str) -> Dataset:
        """The dataset with this GlobalID. Raises NotFound and ValidationFailed."""
        number = number_in(identifier, "Dataset")
        found = await self._store.by_number(tenant, number)
        if found is None:
            raise unknown("Dataset", number)
        return found

    async def named(self, tenant: str, identifier: str) -> Dataset:
        """The dataset with this GlobalID or name. Raises NotFound."""
        if parse(identifier) is not None:
            return await self.get(tenant, identifier)
        found = await self._store.page(tenant, name=identifier, first=None, limit=1)
        if not found:
            raise NotFound(f"Dataset with name {identifier} not found")
        return found[0]

    async def delete(self, caller: Caller, identifier: str) -> None:
        """Deletes a dataset with its experiments and their traces. Raises NotFound and ValidationFailed."""
        dataset = await self.get(caller.tenant, identifier)
        for project in await self._experiments.projects(dataset.number):
            await delete_project(self._parts, caller, project)
        await self._store.remove(dataset, caller.actor)

    async def versions(self, tenant: str, identifier: str, *, limit: int, cursor: str | None) -> Page:
        """One page, the newest version first. Raises NotFound and ValidationFailed."""
        dataset = await self.get(tenant, identifier)
        found = await self._store.versions(dataset.number, first=first_in(cursor, "DatasetVersion"), limit=limit + 1)
        return page_of(found, limit, "DatasetVersion", version_json)

    async def version(self, dataset: Dataset, identifier: str | None) -> Version:
        """The version with this GlobalID, the newest for None. Raises NotFound and ValidationFailed."""
        if identifier:
            number = number_in(identifier, "DatasetVersion")
            version = await self._store.version(dataset.number, number)
            if version is None:
                raise unknown("DatasetVersion", number)
            return version
        newest = await self._store.versions(dataset.number, first=None, limit=1)
        if not newest:
            raise NotFound("Dataset has no versions.")
        return newest[0]

    async def held(self, tenant: str, identifier: str, version: str | None, splits: Collection[str] = ()) -> Held:
        """The examples of a version, the newest for None; only those in any of some splits when given. Raises NotFound and ValidationFailed."""
        dataset = await self.get(tenant, identifier)
        chosen = await self.version(dataset, version)
        within = await self.split_numbers(tenant, splits)
        examples = await self._store.examples(dataset.number, chosen.number, splits=list(within) if splits else None)
        return Held(dataset, chosen, list(within.values()), examples)

    async def split_numbers(self, tenant: str, identifiers: Collection[str]) -> Mapping[int, str]:
        """Number and name of the splits with these GlobalIDs or names. Raises NotFound."""
        if not identifiers:
            return {}
        known = await self._splits.of_tenant(tenant)
        by_text = {each.name: each for each in known} | {global_id("DatasetSplit", each.number): each for each in known}
        missing = [text for text in identifiers if text.strip() not in by_text]
        if missing:
            raise NotFound(f"Dataset splits not found: {', '.join(missing)}")
        return {split.number: split.name for split in (by_text[text.strip()] for text in identifiers)}

    async def split_names(self, dataset: Dataset) -> Mapping[int, Sequence[str]]:
        """The names of the splits of each example that is in any."""
        return await self._splits.names(dataset.number)

    async def upload(self, caller: Caller, upload: Upload) -> Written:
        """Stores all of an upload or nothing. Raises Conflict when the dataset to create exists, and ValidationFailed."""
        examples = await self._linked(caller.tenant, upload.examples)
        return await self._writer.write(caller.tenant, upload.name, upload.description, upload.action, examples, caller.actor, set_splits=upload.set_splits)

    async def _linked(self, tenant: str, examples: Sequence[NewExample]) -> Sequence[NewExample]:
        """The examples with the traces of their spans. An example whose span is not stored, or cannot be looked up now, stays without a link."""
        spans = {each.span_id: _span_of(each.span_id) for each in examples if each.span_id}
        if not spans:
            return examples
        try:
            traces = await self._traces.traces(tenant, sorted({span for trace, span in spans.values() if not trace}))
        except (Unavailable, QueryLimit):
            traces = {}
        known = {given: (trace or traces.get(span), span) for given, (trace, span) in spans.items()}
        return [_link(each, *known[each.span_id]) if each.span_id else each for each in examples]


async def delete_project(parts: Parts, caller: Caller, name: str) -> None:
    """Deletes the project of an experiment with its traces; nothing happens when it is gone already."""
    caller.needs("traces:delete")
    try:
        await Projects(parts).delete(caller, name)
    except NotFound:
        return


def _span_of(text: str) -> tuple[str | None, str]:
    """Trace id, where the text is a GlobalID and so has one, and span id."""
    named = parse(text)
    ids = span_ids(named.number) if named is not None and named.type == "Span" else None
    return ids if ids is not None else (None, text.lower())


def _link(example: NewExample, trace: str | None, span: str) -> NewExample:
    return example._replace(trace_id=trace, span_id=span if trace else None)


def dataset_json(dataset: Dataset) -> dict[str, Any]:
    """As the surface shows a dataset."""
    return {
        "id": global_id("Dataset", dataset.number),
        "name": dataset.name,
        "description": dataset.description,
        "metadata": orjson.Fragment(dataset.meta),
        "created_at": to_iso(dataset.created_at_us),
        "updated_at": to_iso(dataset.updated_at_us),
        "example_count": dataset.example_count,
    }


def version_json(version: Version) -> dict[str, Any]:
    """As the surface shows a version."""
    return {
        "version_id": global_id("DatasetVersion", version.number),
        "description": version.description,
        "metadata": orjson.Fragment(version.meta),
        "created_at": to_iso(version.created_at_us),
    }


def example_json(example: Example) -> dict[str, Any]:
    """As the surface shows an example: `id` is its author's id, the GlobalID where it has none."""
    node = global_id("DatasetExample", example.number)
    source = None
    if example.trace_id and example.span_id:
        source = {"span_id": example.span_id, "span_node_id": global_id("Span", span_number(example.trace_id, example.span_id))}
    return {
        "id": example.external_id or node,
        "node_id": node,
        "input": orjson.Fragment(example.input),
        "output": orjson.Fragment(example.output),
        "metadata": orjson.Fragment(example.meta),
        "updated_at": to_iso(example.at_us),
        "source": source,
    }


def held_json(held: Held) -> dict[str, Any]:
    """As the surface shows the examples of a version."""
    return {
        "dataset_id": global_id("Dataset", held.dataset.number),
        "version_id": global_id("DatasetVersion", held.version.number),
        "filtered_splits": held.splits,
        "examples": [example_json(each) for each in held.examples],
    }


def written_json(written: Written) -> dict[str, Any]:
    """As the surface shows what an upload did."""
    return {
        "dataset_id": global_id("Dataset", written.dataset),
        "version_id": global_id("DatasetVersion", written.version),
        "num_created_examples": written.created,
        "num_updated_examples": written.updated,
        "num_deleted_examples": written.deleted,
    }
