"""Experiments of the crucible surface side by side: what each is, the settings in which they differ, and what their runs came to, as a file."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import orjson

from query_api.control.ml_experiments import MlExperiment
from query_api.domain import dataset_exports, latex_table, markdown_table, plus_minus
from query_api.domain.instants import instant
from query_api.domain.ml_experiments import MlExperiments
from query_api.domain.run_figures import MeanOfRuns, RunFigures, figures_of
from query_api.domain.runs import SUMMARISED, Runs
from query_api.freshness import Wait
from query_api.parts import Parts
from schemas.position import Positions

Format = Literal["json", "csv", "markdown", "latex"]
Template = Literal["publication", "plain"]

_CONFIG: Final = "config."
_RUNS: Final = "runs."
_METRIC: Final = "metrics."
"""These stand before names where they are beside fields of the experiment."""
_COUNTS: Final = ("total", "counted", "completed", "failed")
_TITLES: Final[Mapping[str, str]] = {
    "id": "ID",
    "started_at": "Started",
    "completed_at": "Completed",
    "runs.total": "Runs",
    "runs.counted": f"Runs counted (the newest {SUMMARISED:,})",
    "runs.completed": "Runs completed",
    "runs.failed": "Runs failed",
}
_LABEL: Final = "tab:experiment-comparison"


@dataclass(frozen=True)
class Comparison:
    """Experiments in the order in which they were named."""

    summaries: Sequence[Mapping[str, Any]]
    settings: Sequence[str]
    """Names of the settings in which they differ; those inside others are joined by dots."""
    configs: Sequence[Mapping[str, Any]]
    """Of each experiment, those of the settings that it has."""
    figures: Sequence[RunFigures]
    """Of each experiment, over its newest runs."""
    metrics: Sequence[str]
    """Names of the metrics that runs of at least two of the experiments have."""


async def compare(parts: Parts, tenant: str, ids: Sequence[str], wait: Wait) -> tuple[Comparison, Positions]:
    """What the caller waits for is in it; with it, how far the telemetry of the runs goes. Raises NotFound, which names every experiment that does not
    exist, NotVisibleYet, QueryLimit and Unavailable."""
    experiments = await MlExperiments(parts).several(tenant, ids)
    watermark = await parts.freshness.raw(wait)
    runs = Runs(parts)
    # One after the other, so that the runs of one alone are held.
    return comparison_of(experiments, [figures_of(*await runs.newest(tenant, id)) for id in ids]), watermark


def comparison_of(experiments: Sequence[MlExperiment], figures: Sequence[RunFigures]) -> Comparison:
    """What these have in common is left out of their configs; metrics that one has alone are left out."""
    configs = [dict(settings_of(experiment.config)) for experiment in experiments]
    # By their JSON, as 1 and true are equal in Python.
    texts = [{name: orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for name, value in config.items()} for config in configs]
    names = dict.fromkeys(name for config in configs for name in config)
    differing = [name for name in names if len({text.get(name) for text in texts}) > 1]
    return Comparison(
        [summary_of(experiment) for experiment in experiments],
        differing,
        [{name: config[name] for name in differing if name in config} for config in configs],
        figures,
        sorted(name for name, having in Counter(name for each in figures for name in each.metrics).items() if having > 1),
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
        return orjson.dumps({"data": _data(comparison)})
    columns = _columns(comparison)
    records = _records(comparison)
    if form == "csv":
        return dataset_exports.table([{name: _written(value) for name, value in record.items() if name in columns} for record in records], columns)
    titles = [_title(name) for name in columns]
    if form == "markdown":
        return markdown_table.table(titles, [[_text(_written(record.get(name))) for name in columns] for record in records]).encode()
    rows = [[_set(record.get(name)) for name in columns] for record in records]
    if template == "plain":
        return latex_table.tabular(titles, rows).encode()
    return latex_table.publication(titles, rows, _caption(comparison), _LABEL).encode()


def _data(comparison: Comparison) -> Mapping[str, Any]:
    experiments = [
        {
            **summary,
            "config": config,
            "runs": {name: getattr(figures, name) for name in _COUNTS},
            "metrics": {name: asdict(figures.metrics[name]) for name in comparison.metrics if name in figures.metrics},
        }
        for summary, config, figures in zip(comparison.summaries, comparison.configs, comparison.figures, strict=True)
    ]
    return {"experiments": experiments, "differing_settings": comparison.settings, "shared_metrics": comparison.metrics}


def _columns(comparison: Comparison) -> list[str]:
    # Where every run counts, saying so would only widen the table.
    all_count = all(figures.counted == figures.total for figures in comparison.figures)
    return [
        *dict.fromkeys(name for summary in comparison.summaries for name in summary),
        *(_CONFIG + name for name in comparison.settings),
        *(_RUNS + name for name in _COUNTS if not (name == "counted" and all_count)),
        *(_METRIC + name for name in comparison.metrics),
    ]


def _records(comparison: Comparison) -> list[Mapping[str, Any]]:
    return [
        {
            **summary,
            **{_CONFIG + name: value for name, value in config.items()},
            **{_RUNS + name: getattr(figures, name) for name in _COUNTS},
            **{_METRIC + name: value for name, value in figures.metrics.items()},
        }
        for summary, config, figures in zip(comparison.summaries, comparison.configs, comparison.figures, strict=True)
    ]


def _title(column: str) -> str:
    for before in (_CONFIG, _METRIC):
        if column.startswith(before):
            return column.removeprefix(before)
    return _TITLES.get(column, column.replace("_", " ").capitalize())


def _caption(comparison: Comparison) -> str:
    count = len(comparison.summaries)
    told = f"Comparison of {count} {'experiment' if count == 1 else 'experiments'}."
    return f"{told} Metrics are means over n runs with the half width of their 95% confidence interval." if comparison.metrics else told


def settings_of(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting of a config with its name; the names of settings inside others are joined by dots."""
    for name, value in config.items():
        # With a dot of its own it would look like one inside another.
        path = before + (orjson.dumps(name).decode() if "." in name or not name else name)
        if isinstance(value, dict) and value:
            yield from settings_of(value, f"{path}.")
        else:
            yield path, value


def _written(value: Any) -> Any:
    return plus_minus.text(value) if isinstance(value, MeanOfRuns) else value


def _set(value: Any) -> latex_table.Cell:
    return latex_table.Formula(plus_minus.formula(value)) if isinstance(value, MeanOfRuns) else _text(value)


def _text(value: Any) -> str:
    """As a reader wants it: a text stands for itself, a list for its members, None for nothing, anything else for its JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return orjson.dumps(value).decode()
