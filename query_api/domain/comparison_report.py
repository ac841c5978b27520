"""Experiments of the crucible surface side by side: what each is, and the settings in which they differ, as a file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from query_api.control.ml_experiments import MlExperiment
from query_api.domain import dataset_exports, latex_table, markdown_table
from query_api.domain.instants import instant
from query_api.domain.ml_experiments import MlExperiments
from query_api.parts import Parts

Format = Literal["json", "csv", "markdown", "latex"]
Template = Literal["publication", "plain"]

_CONFIG: Final = "config."
"""Before the name of a setting where it stands beside fields of the experiment."""
_TITLES: Final[Mapping[str, str]] = {"id": "ID", "started_at": "Started", "completed_at": "Completed"}
_LABEL: Final = "tab:experiment-comparison"


@dataclass(frozen=True)
class Comparison:
    """Experiments in the order in which they were named."""

    summaries: Sequence[Mapping[str, Any]]
    settings: Sequence[str]
    """Names of the settings in which they differ; those inside others are joined by dots."""
    configs: Sequence[Mapping[str, Any]]
    """Of each experiment, those of the settings that it has."""


async def compare(parts: Parts, tenant: str, ids: Sequence[str]) -> Comparison:
    """Raises NotFound, which names every experiment that does not exist."""
    return comparison_of(await MlExperiments(parts).several(tenant, ids))


def comparison_of(experiments: Sequence[MlExperiment]) -> Comparison:
    """What these have in common is left out of their configs."""
    configs = [dict(_settings(experiment.config)) for experiment in experiments]
    # By their JSON, as 1 and true are equal in Python.
    texts = [{name: orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for name, value in config.items()} for config in configs]
    names = dict.fromkeys(name for config in configs for name in config)
    differing = [name for name in names if len({text.get(name) for text in texts}) > 1]
    return Comparison(
        [summary_of(experiment) for experiment in experiments],
        differing,
        [{name: config[name] for name in differing if name in config} for config in configs],
    )


def summary_of(experiment: MlExperiment) -> Mapping[str, Any]:
    """What a comparison says of every experiment, by field, in the order in which it stands in tables."""
    return {
        "id": experiment.id,
        "name": experiment.name,
        "status": experiment.status,
        "started_at": instant(experiment.started_at_us),
        "completed_at": instant(experiment.completed_at_us),
        "tags": experiment.tags,
    }


def rendered(comparison: Comparison, form: Format, template: Template) -> bytes:
    """The file. A template changes LaTeX only: `publication` is a table that floats, with caption and label."""
    if form == "json":
        experiments = [{**summary, "config": config} for summary, config in zip(comparison.summaries, comparison.configs, strict=True)]
        return orjson.dumps({"data": {"experiments": experiments, "differing_settings": comparison.settings}})
    records = [_record(summary, config) for summary, config in zip(comparison.summaries, comparison.configs, strict=True)]
    columns = [*dict.fromkeys(name for summary in comparison.summaries for name in summary), *(_CONFIG + name for name in comparison.settings)]
    if form == "csv":
        return dataset_exports.table(records, columns)
    titles = [name.removeprefix(_CONFIG) if name.startswith(_CONFIG) else _TITLES.get(name, name.replace("_", " ").capitalize()) for name in columns]
    rows = [[_text(record.get(name)) for name in columns] for record in records]
    if form == "markdown":
        return markdown_table.table(titles, rows).encode()
    if template == "plain":
        return latex_table.tabular(titles, rows).encode()
    return latex_table.publication(titles, rows, f"Comparison of {len(rows)} {'experiment' if len(rows) == 1 else 'experiments'}.", _LABEL).encode()


def _record(summary: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**summary, **{_CONFIG + name: value for name, value in config.items()}}


def _settings(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        # With a dot of its own it would look like one inside another.
        path = before + (orjson.dumps(name).decode() if "." in name or not name else name)
        if isinstance(value, dict) and value:
            yield from _settings(value, f"{path}.")
        else:
            yield path, value


def _text(value: Any) -> str:
    """As a reader wants it: a text stands for itself, a list for its members, None for nothing, anything else for its JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return orjson.dumps(value).decode()
