"""The time an experiment runs: events outside it are stored and do not count."""

from infra.runtime.clickhouse import ClickHouse
from schemas.definitions import Definitions, to_us
from schemas.windows import ALL_TIME
from streams.readers import experiments
from streams.refresher import Subject


class ExperimentSpans:
    """Knows which experiments have events outside their time, so that only those pay for leaving them out."""

    def __init__(self, clickhouse: ClickHouse, definitions: Definitions) -> None:
        self._clickhouse = clickhouse
        self._definitions = definitions
        self._cut: dict[Subject, tuple[int, int]] = {}

    def of(self, subject: Subject) -> tuple[int, int]:
        """The event times that count, microseconds since the epoch, end exclusive; all of time for an experiment without a start or an end."""
        experiment = self._definitions.experiment(subject.tenant, subject.name)
        if experiment is None:
            return ALL_TIME
        start = to_us(experiment.starts_at) if experiment.starts_at else ALL_TIME[0]
        return start, to_us(experiment.ends_at) if experiment.ends_at else ALL_TIME[1]

    async def cut(self, subject: Subject) -> tuple[int, int] | None:
        """The same where events outside it are stored, so that the totals of all events are too much; None where they hold. Raises ClickHouseError."""
        span = self.of(subject)
        if span == ALL_TIME:
            return None
        if self._cut.get(subject) != span:
            if not await experiments.any_outside(self._clickhouse, subject.tenant, subject.name, span):
                return None
            self._cut[subject] = span
        return span

    def within(self, subject: Subject, start: int, end: int) -> tuple[int, int]:
        """The part of a window that counts; it may be empty."""
        first, last = self.of(subject)
        return max(start, first), min(end, last)
