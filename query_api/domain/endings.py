"""Experiments whose end has come: completed once, by the process that leads, with a line in the audit log.

Only active ones: a paused experiment waits for a person, who may resume it, which drops an end that has passed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from infra.runtime.errors import MillstreamError, NotFound
from query_api.control.audit import Actor
from query_api.control.leadership import Leadership
from query_api.domain.change import change
from query_api.domain.experiment_lifecycle import ended
from query_api.domain.stored import StoredDefinitions
from schemas.definition_kinds import Experiment
from schemas.definitions import Definitions

_log = structlog.get_logger()

SCHEDULE: Final = Actor("", "end date")
"""Who the audit log names."""
LOOK_S: Final = 1.0
"""How often the ends are looked at, and so how much later than its end an experiment may be completed."""


class Endings:
    """Looks at the ends of all experiments of all tenants."""

    def __init__(self, stored: StoredDefinitions, definitions: Definitions, leadership: Leadership) -> None:
        """Does nothing before `run`."""
        self._stored = stored
        self._definitions = definitions
        self._leadership = leadership

    async def run(self, known: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled. `known` returns when the definitions are there."""
        await known()
        try:
            while True:
                if await self._leadership.held():
                    await self.complete_due()
                await asyncio.sleep(LOOK_S)
        finally:
            await self._leadership.release()

    async def complete_due(self) -> None:
        """Completes what is due. What cannot be written now is due again the next time."""
        now = self._stored.now()
        for tenant in self._definitions.tenants():
            for experiment in self._definitions.experiments(tenant.id):
                if ended(experiment, now) is not experiment:
                    await self._complete(experiment)

    async def _complete(self, due: Experiment) -> None:
        """Judges the experiment as it is stored, since the one in memory may be older."""
        try:
            await change(self._stored, Experiment, due.tenant, due.id, SCHEDULE, "experiment.ended", lambda stored: ended(stored, self._stored.now()))
        except NotFound:
            return
        except MillstreamError as error:
            _log.warning("experiment cannot be completed at the moment", tenant=due.tenant, experiment=due.id, problem=error.message)
