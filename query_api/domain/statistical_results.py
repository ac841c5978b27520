"""Statistical tests of an experiment's telemetry: run, stored as they came out, and read again."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from infra.runtime.errors import NotFound, ValidationFailed
from query_api.access import Caller
from query_api.control.ml_experiments import MlExperimentStore
from query_api.control.sorted_list import Sort
from query_api.control.statistical_results import StatisticalResult, StatisticalResultFilter, StatisticalResultStore
from query_api.domain.instants import instant
from query_api.domain.sorted_page import Listed, Wanted, listed
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.telemetry_values import EVENT_NAME, Selection, TelemetryValues
from schemas import group_tests
from schemas.findings import interpretation
from schemas.group_tests import Group, TestType, Undetermined
from schemas.position import Positions, encode

_NAMED: Final = 20
"""Most groups that an error names."""


@dataclass(frozen=True)
class AskedTest:
    """A test that somebody asks for."""

    test_type: TestType
    groups: Sequence[str]
    selection: Selection
    how: group_tests.Wanted
    pair_by: str | None
    """Field of the metadata that says which events belong together; for `paired_t_test` alone."""
    options: Mapping[str, Any]
    """As they are shown with the result, those that were not given included."""


class StatisticalResults:
    """The results of a tenant. Raises `Unavailable` without the control store."""

    def __init__(self, parts: Parts) -> None:
        self._store = StatisticalResultStore(parts.control.engine, parts.clock)
        self._experiments = MlExperimentStore(parts.control.engine, parts.clock)
        self._values = TelemetryValues(parts.rows)
        self._freshness = parts.freshness

    async def page(self, tenant: str, wanted: StatisticalResultFilter, descending: bool, page: Wanted) -> Listed:
        """One page, by when they were made. Raises ValidationFailed for a bad cursor."""
        sort = Sort("created_at_us", descending)
        found, total = await self._store.page(tenant, wanted, page.part(sort, of_text=False))
        return listed(found, total, page, sort, result_json)

    async def page_of(self, tenant: str, experiment: str, test_type: str | None, descending: bool, page: Wanted) -> Listed:
        """Those of an experiment. Raises NotFound for one that neither exists nor sent an event nor has a result."""
        found = await self.page(tenant, StatisticalResultFilter(experiment, test_type), descending, page)
        if not found.total:
            _, results = await self._store.page(tenant, StatisticalResultFilter(experiment), Wanted(1, 1).part(Sort("created_at_us", True), of_text=False))
            if not results:
                await self._known(tenant, experiment)
        return found

    async def get(self, tenant: str, id: str) -> StatisticalResult:
        """Raises NotFound."""
        found = await self._store.get(tenant, id)
        if found is None:
            raise NotFound(f"there is no statistical result {id[:100]}")
        return found

    async def run(self, caller: Caller, asked: AskedTest, wait: Wait) -> tuple[StatisticalResult, Positions]:
        """Tests what is visible now and stores the result; with it, up to where the telemetry was read.

        Raises NotFound for an experiment that neither exists nor sent an event, ValidationFailed for groups it does not have and for values the test cannot
        be made of, NotVisibleYet, and QueryLimit for more values than one test takes.
        """
        as_of = await self._freshness.raw(wait)
        groups, alone = await self._groups(caller.tenant, asked)
        try:
            # A million values take a second, in which others are to be answered.
            body = await asyncio.to_thread(_body, asked, groups, alone)
        except Undetermined as error:
            raise ValidationFailed(str(error), details={"groups": [str(error)]}) from error
        body["as_of"] = encode(as_of)
        id = f"stat_{secrets.token_hex(8)}"
        return await self._store.add(caller.tenant, id, asked.selection.experiment, asked.test_type, body, caller.actor), as_of

    async def _groups(self, tenant: str, asked: AskedTest) -> tuple[list[Group], tuple[int, int] | None]:
        if asked.pair_by is not None:
            paired = await self._values.of_pairs(tenant, asked.selection, asked.groups, asked.pair_by)
            if not paired.first.size:
                await self._explain(tenant, asked)
            values = dict(zip(asked.groups, (paired.first, paired.second), strict=True))
            return [Group(name, values[name]) for name in asked.groups], paired.alone
        values = await self._values.of_groups(tenant, asked.selection, asked.groups)
        if len(values) < len(asked.groups):
            await self._explain(tenant, asked)
        return [Group(name, values.get(name, np.empty(0))) for name in asked.groups], None

    async def _explain(self, tenant: str, asked: AskedTest) -> None:
        """Why there are no values where some were asked for: raises NotFound or ValidationFailed, unless there are some that only do not pair."""
        selection = asked.selection
        await self._known(tenant, selection.experiment)
        there = await self._values.groups(tenant, selection, asked.groups)
        by = EVENT_NAME if selection.group_by == EVENT_NAME else f"metadata.{selection.group_by}"
        if not there:
            message = f"no event that the options choose has {by}; group by another field with options.group_by, or choose more events"
            raise ValidationFailed(message, details={"options.group_by": [message]})
        for name in asked.groups:
            if name not in there:
                shown = ", ".join(list(there)[:_NAMED]) + (", ..." if len(there) > _NAMED else "")
                message = f"there is no group {name} by {by}; there are {shown}"
                raise ValidationFailed(message, details={"groups": [message]})
        for name in asked.groups:
            if not there[name]:
                message = f"no event of group {name} has a number in measurements.{selection.metric}"
                raise ValidationFailed(message, details={"metric": [message]})
        if asked.pair_by is not None:
            message = f"no two events of {' and '.join(asked.groups)} have the same metadata.{asked.pair_by}"
            raise ValidationFailed(message, details={"options.pair_by": [message]})

    async def _known(self, tenant: str, experiment: str) -> None:
        if await self._experiments.get(tenant, experiment) is None and not await self._values.any_of(tenant, experiment):
            raise NotFound(f"there is no experiment {experiment[:100]}, and no telemetry of one")


def result_json(result: StatisticalResult) -> dict[str, Any]:
    """As the surface shows a result."""
    about = {"id": result.id, "experiment_id": result.experiment, "test_type": result.test_type}
    return {**about, **result.body, "created_at": instant(result.created_at_us)}


def _body(asked: AskedTest, groups: Sequence[Group], alone: tuple[int, int] | None) -> dict[str, Any]:
    outcome = group_tests.run(asked.test_type, groups, asked.how)
    always = outcome.always_valid
    return {
        "metric": asked.selection.metric,
        "groups": [group.name for group in groups],
        "statistic": outcome.statistic,
        "degrees_of_freedom": outcome.degrees_of_freedom,
        "p_value": outcome.p_value,
        "alpha": asked.how.alpha,
        "alternative": asked.how.alternative,
        "effect_size": outcome.effect.value,
        "effect_size_type": outcome.effect.type,
        "confidence_interval": outcome.effect.interval,
        "mean_difference": outcome.mean_difference,
        "mean_difference_interval": outcome.mean_difference_interval,
        "always_valid": None if always is None else asdict(always),
        "sample_sizes": [group.count for group in groups],
        "means": [group.mean for group in groups],
        "std_devs": [group.deviation for group in groups],
        "unpaired": alone,
        "interpretation": asdict(interpretation(asked.test_type, asked.selection.metric, groups, outcome, asked.how)),
        "options": dict(asked.options),
    }
