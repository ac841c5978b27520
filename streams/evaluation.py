"""Windows of evaluation: how often a rule judged, what it said, how often it failed, and what its thresholds say.

Marks name a rule. A refresh adds up the touched minutes again from the distinct evaluations, and longer windows from the shorter ones within
them (5m from 1m, 1h from 5m, 1d from 1h, all from 1d), so it costs what changed. The cumulative window also holds the state of each
threshold, over the last minutes as they are at that moment.
"""

from collections.abc import Mapping, Sequence

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from schemas import position
from schemas.cost import FINER, whole_minutes
from schemas.definitions import Definitions
from schemas.evaluation_tally import RESULTS, Tally, judged, total
from schemas.windows import MICROSECONDS, MINUTE_US, Grain, window_start, windows_touched
from streams.publish_windows import WindowWriter
from streams.readers import evaluation as reader
from streams.refresher import Batch, Subject
from streams.whole_refresh import WholeRefresh

CHUNK = 60
"""Minutes added up by one statement."""
LONGER = (Grain.FIVE_MINUTES, Grain.HOUR, Grain.DAY)


class Evaluation(WholeRefresh):
    """Windows of evaluation, by rule. A changed rule leaves what they count as it is: evaluations say what was judged when it was."""

    kind = "evaluation"

    def __init__(self, clickhouse: ClickHouse, writer: WindowWriter, definitions: Definitions, clock: Clock, *, timeout: float = 60.0) -> None:
        """`timeout` in seconds bounds each statement."""
        super().__init__(writer)
        self._clickhouse = clickhouse
        self._definitions = definitions
        self._clock = clock
        self._timeout = timeout

    async def refresh(self, subject: Subject, batch: Batch) -> None:
        """Bring every window the batch touched up to date, publish what changed, then say how far. Raises ClickHouseError; repeating is safe."""
        positions = await self._merged(subject, batch)
        minutes = whole_minutes(batch.minutes)
        for first in range(0, len(minutes), CHUNK):
            await self._chunk(subject, minutes[first : first + CHUNK], positions)
        await self._cumulative(subject, positions)
        await self._reached(subject, positions)

    async def _chunk(self, subject: Subject, starts: Sequence[int], positions: position.Positions) -> None:
        tenant, rule = subject.tenant, subject.name
        # A minute of which nothing is left keeps its figures: its evaluations have expired.
        changed = await reader.tallies(self._clickhouse, tenant, rule, starts, timeout=self._timeout)
        await self._write(subject, Grain.MINUTE, changed, positions)
        touched = {grain: windows_touched((start // MINUTE_US for start in starts), grain) for grain in LONGER}
        within = {FINER[grain]: [at for start in touched[grain] for at in _parts(start, grain)] for grain in LONGER}
        known = await reader.stored_within(self._clickhouse, tenant, rule, within, timeout=self._timeout)
        for grain in LONGER:
            shorter = known[FINER[grain]] | changed
            changed = {start: total(shorter[at] for at in _parts(start, grain) if at in shorter) for start in touched[grain]}
            await self._write(subject, grain, changed, positions)

    async def _cumulative(self, subject: Subject, positions: position.Positions) -> None:
        rule = self._definitions.evaluation_rule(subject.tenant, subject.name)
        alerts = rule.alerts if rule is not None else ()
        until = window_start(self._clock.now_us(), Grain.MINUTE) + MINUTE_US
        since = until - max((alert.over_minutes for alert in alerts), default=0) * MINUTE_US
        known = await reader.stored_days(self._clickhouse, subject.tenant, subject.name, since, timeout=self._timeout)
        items = {RESULTS: total(known[Grain.DAY].values()).figures()}
        for alert in alerts:
            first = until - alert.over_minutes * MINUTE_US
            items[alert.name] = judged(alert, total(tally for at, tally in known[Grain.MINUTE].items() if first <= at < until))
        await self._writer.write(subject.tenant, subject.name, Grain.ALL, {0: items}, positions)

    async def _write(self, subject: Subject, grain: Grain, tallies: Mapping[int, Tally], positions: position.Positions) -> None:
        windows = {start: {RESULTS: tally.figures()} for start, tally in tallies.items()}
        await self._writer.write(subject.tenant, subject.name, grain, windows, positions)


def _parts(start_us: int, grain: Grain) -> range:
    """Starts of the windows of the next finer grain within one of a grain."""
    return range(start_us, start_us + grain.seconds * MICROSECONDS, FINER[grain].seconds * MICROSECONDS)
