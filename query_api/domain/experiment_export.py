"""An experiment of the crucible surface as a file: all that belongs to it as JSON, or its runs as a table.

Runs and telemetry are read and written in parts, so a file may be of any size. What comes in while it is written may be in it or not.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final, Literal

import orjson

from query_api.control.ml_experiments import MlExperiment
from query_api.control.statistical_results import StatisticalResultFilter
from query_api.domain import dataset_exports, telemetry_export
from query_api.domain.comparison_report import settings_of
from query_api.domain.ml_experiments import experiment_json
from query_api.domain.runs import Runs
from query_api.domain.sorted_page import Wanted
from query_api.domain.statistical_results import StatisticalResults
from query_api.parts import Parts
from query_api.readers.telemetry import TelemetryFilter

Part = Literal["config", "results", "runs", "telemetry"]

_RUN_FIELDS: Final = ("id", "status", "progress", "started_at", "completed_at")
_PAGE: Final = 100


async def as_json(parts: Parts, experiment: MlExperiment, include: Collection[Part]) -> AsyncGenerator[bytes, None]:
    """An object with the experiment and what is included, piece by piece. What fails when it is first read fails before the first piece.

    Raises QueryLimit and Unavailable, also in the middle of it.
    """
    shown = experiment_json(experiment)
    config = shown.pop("config")
    made = {
        "results": _array(_results(parts, experiment)),
        "runs": _array(Runs(parts).whole(experiment.tenant, experiment.id)),
        "telemetry": _telemetry(parts, experiment),
    }
    async with AsyncExitStack() as opened:
        lists = {name: await opened.enter_async_context(aclosing(content)) for name, content in made.items() if name in include}
        begun = {name: await anext(content) for name, content in lists.items()}
        yield b'{"experiment":' + orjson.dumps(shown) + (b',\n"config":' + orjson.dumps(config) if "config" in include else b"")
        for name, content in lists.items():
            yield b",\n" + orjson.dumps(name) + b":" + begun.pop(name)
            async for piece in content:
                yield piece
    yield b"}\n"


async def as_csv(parts: Parts, experiment: MlExperiment, include: Collection[Part]) -> AsyncGenerator[bytes, None]:
    """A line for each run, the newest first, piece by piece: its hyperparameters and metrics, and the settings of the experiment if they are included.

    Raises QueryLimit and Unavailable, also in the middle of it.
    """
    settings = {f"config.{name}": value for name, value in settings_of(experiment.config)} if "config" in include else {}
    runs = Runs(parts)
    # The first line names what any run has, so all are read for it, and once more for their values, rather than held.
    names: dict[str, None] = {}
    async with aclosing(runs.whole(experiment.tenant, experiment.id)) as pages:
        async for page in pages:
            names.update(dict.fromkeys(name for run in page for name in _flat(run)))
    columns = [*_RUN_FIELDS, *settings, *sorted(names)]
    yield dataset_exports.head(columns)
    async with aclosing(runs.whole(experiment.tenant, experiment.id)) as pages:
        async for page in pages:
            yield dataset_exports.lines([{**{name: run[name] for name in _RUN_FIELDS}, **settings, **_flat(run)} for run in page], columns)


async def _results(parts: Parts, experiment: MlExperiment) -> AsyncGenerator[Sequence[Any], None]:
    results = StatisticalResults(parts)
    page = Wanted(1, _PAGE)
    while True:
        found = await results.page(experiment.tenant, StatisticalResultFilter(experiment.id), True, page)
        yield found.items
        if found.next_cursor is None:
            return
        page = Wanted(1, _PAGE, found.next_cursor)


def _telemetry(parts: Parts, experiment: MlExperiment) -> AsyncGenerator[bytes, None]:
    wanted = TelemetryFilter(experiment_id=experiment.id)
    return telemetry_export.exported(parts.rows, experiment.tenant, wanted, "json", telemetry_export.columns_of(None))


async def _array(pages: AsyncGenerator[Sequence[Any], None]) -> AsyncGenerator[bytes, None]:
    """A JSON array of what the pages hold, a piece for each."""
    before, end = b"[", b"[]"
    async with aclosing(pages):
        async for page in pages:
            if page:
                yield before + b",\n".join(map(orjson.dumps, page))
                before, end = b",\n", b"]"
    yield end


def _flat(run: Mapping[str, Any]) -> Mapping[str, Any]:
    return {f"{part}.{name}": value for part in ("hyperparameters", "metrics") for name, value in run[part].items()}
