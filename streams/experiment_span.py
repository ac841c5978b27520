"""The time an experiment runs: events outside it are stored and do not count."""

from dataclasses import dataclass, field

from infra.runtime.clickhouse import ClickHouse
from schemas import position
from schemas.definitions import Definitions
from schemas.fields import span_of
from schemas.windows import ALL_TIME
from streams.readers import experiments
from streams.refresher import Subject
from streams.unit_totals import event_positions


@dataclass
class _Checked:
    """What is known of an experiment's events and the time it runs."""

    span: tuple[int, int]
    cut: bool = False
    until: dict[int, int] = field(default_factory=dict)
    """By partition, the first offset that is not known to hold nothing outside."""


class ExperimentSpans:
    """Knows which experiments have events outside their time, so that only those pay for leaving them out."""

    def __init__(self, clickhouse: ClickHouse, definitions: Definitions) -> None:
        self._clickhouse = clickhouse
        self._definitions = definitions
        self._checked: dict[Subject, _Checked] = {}

    def forget(self) -> None:
        """Partitions moved: look at everything again."""
        self._checked.clear()

    def of(self, subject: Subject) -> tuple[int, int]:
        """The event times that count, microseconds since the epoch, end exclusive; all of time for an experiment without a start or an end."""
        experiment = self._definitions.experiment(subject.tenant, subject.name)
        if experiment is None:
            return ALL_TIME
        return span_of(experiment.starts_at, experiment.ends_at)

    async def cut(self, subject: Subject, positions: position.Positions) -> tuple[int, int] | None:
        """The same where events outside it are stored, so that the totals of all events are too much; None where they hold.

        `positions` are stored already; only what came since the last call is looked at. Raises ClickHouseError."""
        span = self.of(subject)
        if span == ALL_TIME:
            return None
        known = self._checked.get(subject)
        if known is None or known.span != span:
            known = self._checked[subject] = _Checked(span)
        if not known.cut:
            reached = event_positions(positions)
            if known.until:
                known.until = {**dict.fromkeys(reached, 0), **known.until}
            known.cut = await experiments.any_outside(self._clickhouse, subject.tenant, subject.name, span, known.until)
            known.until = {**known.until, **{part: max(offset + 1, known.until.get(part, 0)) for part, offset in reached.items()}}
        return span if known.cut else None

    def within(self, subject: Subject, start: int, end: int) -> tuple[int, int]:
        """The part of a window that counts; it may be empty."""
        first, last = self.of(subject)
        return max(start, first), min(end, last)
