"""Tells dashboards how the machine is and how many experiments are under way; nothing is looked at while there are none."""

import asyncio
from typing import Any, Final

import psutil
import structlog

from infra.runtime.clock import Clock
from infra.runtime.errors import MillstreamError
from query_api.control.ml_experiments import MlExperimentStore
from query_api.live.channels import DashboardChannel
from schemas.windows import Grain, window_start

_log = structlog.get_logger()

LOOK_S: Final = 1.0
MACHINE_S: Final = 5.0
"""Between two readings of the machine."""


class Dashboards:
    """Belongs to one event loop."""

    def __init__(self, store: MlExperimentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._channels: set[DashboardChannel] = set()
        self._wake = asyncio.Event()

    def listen(self, channel: DashboardChannel) -> None:
        """From now on the channel is told, the first time at once."""
        self._channels.add(channel)
        self._wake.set()

    def leave(self, channel: DashboardChannel) -> None:
        """Ends it; idempotent."""
        self._channels.discard(channel)

    async def run(self) -> None:
        """Until cancelled. What cannot be looked at now is left out."""
        told: set[DashboardChannel] = set()
        read_at = float("-inf")
        while True:
            if not self._channels:
                self._wake.clear()
                await self._wake.wait()
            now = self._clock.monotonic()
            due = now - read_at >= MACHINE_S
            for channel in list(self._channels) if due else self._channels - told:
                channel.machine(machine())
            told, read_at = set(self._channels), now if due else read_at
            try:
                await self.look()
            except MillstreamError as error:
                _log.warning("experiments not counted, trying again", problem=error.message)
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), LOOK_S)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Count the experiments of every tenant that has a dashboard. Raises Unavailable without the control store."""
        for tenant in {channel.tenant for channel in self._channels}:
            counts = await self._store.counts(tenant, window_start(self._clock.now_us(), Grain.DAY))
            for channel in list(self._channels):
                if channel.tenant == tenant:
                    channel.summary(*counts)


def machine() -> dict[str, Any]:
    """Percent of the processors and of the memory in use on the machine of this service; there is nothing here that knows of a GPU."""
    return {"cpu": psutil.cpu_percent(), "memory": psutil.virtual_memory().percent, "gpu": None}
