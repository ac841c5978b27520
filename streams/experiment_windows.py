"""The windows of experiments: one reading of an experiment's units serves the assignments and the significance agents."""

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from infra.runtime.settings import StreamSettings
from schemas import position
from schemas.definitions import Definitions
from schemas.windows import Grain
from streams.assignments import Assignments
from streams.publish_windows import WindowWriter
from streams.refresher import Batch, Redefinition, Subject
from streams.significance import Significance
from streams.unit_readings import UnitReadings
from streams.watermarks import Watermarks


class ExperimentWindows:
    """Windows of assignments and significance. One instance per worker; it owns the experiments whose marks the worker reads."""

    kind = "experiments"

    def __init__(
        self, clickhouse: ClickHouse, clock: Clock, definitions: Definitions, settings: StreamSettings, assignments: WindowWriter, significance: WindowWriter
    ) -> None:
        self._watermarks = Watermarks(clickhouse, settings)
        self._readings = UnitReadings(clickhouse, clock, definitions)
        self._assignments = Assignments(clickhouse, definitions, assignments)
        self._significance = Significance(clickhouse, self._readings, definitions, significance)

    def forget(self) -> None:
        self._readings.forget()
        self._assignments.forget()
        self._significance.forget()
        self._watermarks.forget()

    def held_units(self, subject: Subject) -> int:
        """How many units of an experiment are held in memory; 0 when they are read anew."""
        return self._readings.held_units(subject)

    async def drain(self) -> None:
        """Wait until what goes on beside the refreshes is done."""
        await self._watermarks.drain()
        await self._readings.drain()

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        """Significance first, since guardrails wait for it; then every window of assignments. How far they are is said beside what comes next, and the
        marks are held until then."""
        if await self._is_empty(subject, batch):
            return
        reading = await self._readings.read(subject, batch, await self._significance.included(subject))
        progress = [await self._significance.refresh(subject, batch, reading), await self._assignments.refresh(subject, batch, reading)]
        self._watermarks.say(progress, batch.hold())
        await self._readings.maybe_seal(subject, progress[0]["positions"])

    async def refresh_window(self, subject: Subject, grain: Grain, start_us: int) -> None:
        await self._significance.refresh_window(subject, grain, start_us)

    async def redefined(self, subject: Subject) -> Redefinition | None:
        return await self._significance.redefined(subject) if await self._readings.any_stored(subject) else None

    async def caught_up(self, subject: Subject, positions: position.Positions, redefinition: int) -> None:
        await self._significance.caught_up(subject, positions, redefinition)

    async def _is_empty(self, subject: Subject, batch: Batch) -> bool:
        """Whether an experiment was defined that has no events. Those that come later bring a mark of their own, which finds this definition."""
        return not batch.positions and not batch.minutes and not await self._readings.any_stored(subject)
