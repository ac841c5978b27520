"""Follows the states of crucible experiments in the control store, for live clients: one look for all of them, and none while nobody listens."""

import asyncio
from collections import defaultdict
from typing import Final, Protocol

import structlog

from infra.runtime.errors import MillstreamError
from query_api.control.ml_experiments import MlExperiment, MlExperimentStore
from query_api.control.store import ControlStore

_log = structlog.get_logger()

LOOK_S: Final = 0.25


class StateListener(Protocol):
    """Who is told. Nothing in it may block."""

    tenant: str
    experiment: str

    def changed(self, experiment: MlExperiment) -> None:
        """What was committed may have changed the experiment; this is how it is now."""
        ...


class ExperimentWatch:
    """Belongs to one event loop."""

    def __init__(self, store: MlExperimentStore, control: ControlStore) -> None:
        self._store = store
        self._control = control
        self._listeners: set[StateListener] = set()
        self._joins = 0
        self._seen: tuple[object, int] | None = None
        self._wake = asyncio.Event()

    def listen(self, listener: StateListener) -> None:
        """From now on the listener hears of changes, also of those that were committed since it read what it knows."""
        self._listeners.add(listener)
        self._joins += 1
        self._wake.set()

    def leave(self, listener: StateListener) -> None:
        """Ends it; idempotent."""
        self._listeners.discard(listener)

    async def run(self) -> None:
        """Until cancelled. A look that fails is repeated."""
        while True:
            if not self._listeners:
                self._wake.clear()
                await self._wake.wait()
            try:
                await self.look()
            except MillstreamError as error:
                _log.warning("states of experiments not followed, trying again", problem=error.message)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Tell of what was committed since the last look. Raises Unavailable without the control store."""
        state = (self._control.commits(), self._joins)
        if state == self._seen:
            return
        listeners: dict[str, list[StateListener]] = defaultdict(list)
        for listener in self._listeners:
            listeners[listener.tenant].append(listener)
        for tenant, of_tenant in listeners.items():
            found = await self._store.of_ids(tenant, list({each.experiment for each in of_tenant}))
            for listener in of_tenant:
                if listener.experiment in found:
                    listener.changed(found[listener.experiment])
        # Only now: for what was committed or who came while this looked it looks again.
        self._seen = state
