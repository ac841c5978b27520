"""The topics that clients of the crucible socket may join, and what feeds them."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from infra.runtime.clock import Clock
from infra.runtime.errors import NotFound
from query_api.access import Caller
from query_api.control.ml_experiments import MlExperimentStore
from query_api.control.store import ControlStore
from query_api.freshness import Freshness
from query_api.live.channels import Answer, Channel, DashboardChannel, ExperimentChannel, Push, TelemetryChannel
from query_api.live.dashboards import Dashboards
from query_api.live.experiment_watch import ExperimentWatch
from query_api.live.telemetry_tail import TelemetryTail
from query_api.readers.rows import Rows
from query_api.readers.runs import RunFilter, RunReader
from query_api.readers.telemetry_tail import TelemetryTailReader

EVERYTHING: Final = "all"
_RUNS: Final = 1_000
"""Of an experiment, the newest, whose state is known when a client joins."""


class Joined(NamedTuple):
    """A topic that was joined."""

    channel: Channel
    leave: Callable[[], None]
    """Ends it; idempotent."""
    answer: Answer


class ChannelTopics:
    """Belongs to one event loop."""

    def __init__(self, rows: Rows, freshness: Freshness, control: ControlStore, clock: Clock) -> None:
        self._store = MlExperimentStore(control.engine, clock)
        self._runs = RunReader(rows)
        self._clock = clock
        self._tail = TelemetryTail(TelemetryTailReader(rows), self._runs, freshness, clock)
        self._watch = ExperimentWatch(self._store, control)
        self._dashboards = Dashboards(self._store, clock)

    async def run(self) -> None:
        """Feeds what is joined, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for feed in (self._tail, self._watch, self._dashboards):
                group.create_task(feed.run())

    async def join(self, topic: str, caller: Caller, push: Push) -> Joined:
        """Join a topic: what happens from then on is pushed.

        Raises Forbidden without the permission, NotFound for an unknown topic or experiment, and Unavailable without the stores it needs.
        """
        kind, _, name = topic.partition(":")
        match kind:
            case "experiment" if name:
                caller.needs("experiments:read")
                return await self._experiment(caller.tenant, name, push)
            case "telemetry" if name:
                caller.needs("telemetry:read")
                telemetry = TelemetryChannel(push, caller.tenant, None if name == EVERYTHING else name)
                await self._tail.listen(telemetry)
                return Joined(telemetry, lambda: self._tail.leave(telemetry), {})
            case "dashboard" if name:
                caller.needs("experiments:read")
                dashboard = DashboardChannel(push, caller.tenant)
                self._dashboards.listen(dashboard)
                return Joined(dashboard, lambda: self._dashboards.leave(dashboard), {})
        raise NotFound("unmatched topic")

    async def _experiment(self, tenant: str, id: str, push: Push) -> Joined:
        experiment = await self._store.get(tenant, id)
        if experiment is None:
            raise NotFound(f"there is no experiment {id[:100]}")
        channel = ExperimentChannel(push, experiment, self._clock)

        def leave() -> None:
            self._tail.leave(channel)
            self._watch.leave(channel)

        # First listen, then read: what is stored in between is in one or the other.
        self._watch.listen(channel)
        try:
            await self._tail.listen(channel)
            places = await self._runs.places(tenant, RunFilter(experiment=id), limit=_RUNS)
            runs = await self._runs.runs(tenant, [place.run_id for place in places])
        except BaseException:
            leave()
            raise
        channel.begin(list(runs.values()))
        return Joined(channel, leave, {"status": experiment.status})
