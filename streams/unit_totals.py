"""Keeping the per-unit totals: what may be added up is sealed, what may come again is totalled anew."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from infra.runtime.clickhouse import ClickHouse
from infra.runtime.clock import Clock
from schemas import position
from schemas.topics import EVENTS
from streams.ledger import sql_time
from streams.readers import experiments
from streams.refresher import Batch, Subject
from streams.rows import insert_rows

SEAL_ROWS = 1_000_000
"""Events behind the seal from which on they are folded in: few enough to read at every refresh, many enough to make folding rare."""

HELD_SEAL_ROWS = 8_000_000
"""The same for an experiment whose units are held in memory: there the seal only serves a worker that has to begin anew."""

TIMEOUT_S = 60.0
"""Deadline of one statement over the totals."""


@dataclass
class _Seal:
    """How far an experiment is sealed."""

    sequence: int = 0
    positions: dict[int, int] = field(default_factory=dict)
    """First offset behind the seal, by partition; 0 for one whose events all came later."""


@dataclass
class _State:
    seal: _Seal | None = None
    covered: dict[str, int] = field(default_factory=dict)
    """Positions up to which events with a client's id are totalled."""
    measured: dict[str, int] = field(default_factory=dict)
    """Positions at which the sizes were last looked at."""
    totals: int = 0
    """Rows of sealed totals."""
    tail: int = 0
    """Events behind the seal."""
    any_stored: bool = False


@dataclass(frozen=True)
class Ready:
    """Totals that include what was asked for."""

    sealed: dict[int, int]
    """First offset behind the seal, by partition of the events topic."""
    rows: int
    """About how many rows there are to add up."""


class UnitTotals:
    """The totals of every experiment this worker owns."""

    def __init__(self, clickhouse: ClickHouse, clock: Clock) -> None:
        self._clickhouse = clickhouse
        self._clock = clock
        self._states: defaultdict[Subject, _State] = defaultdict(_State)

    def forget(self) -> None:
        """Partitions moved: read the seals again before they are used."""
        self._states.clear()

    async def any_stored(self, subject: Subject) -> bool:
        """Whether there is anything to total. Raises ClickHouseError."""
        state = self._states[subject]
        state.any_stored = state.any_stored or await experiments.any_stored(self._clickhouse, subject.tenant, subject.name)
        return state.any_stored

    def sealed(self, subject: Subject) -> dict[int, int]:
        """The first offset behind the seal, by partition, as far as it is known; for what stays right when a seal is made meanwhile."""
        seal = self._states[subject].seal
        return dict(seal.positions) if seal else {}

    def came(self, subject: Subject, events: int) -> None:
        """More events are behind the seal, which were not looked at by `ready`."""
        self._states[subject].tail += events

    async def ready(self, subject: Subject, batch: Batch) -> Ready:
        """Make the totals include the batch. Raises ClickHouseError; repeating is safe."""
        state = self._states[subject]
        if batch.redefined:
            state.covered = {}
        if (batch.keyed or batch.redefined) and not (state.covered and position.covers(state.covered, batch.positions)):
            units = None if batch.units is None else sorted(batch.units)
            await experiments.total_keyed(self._clickhouse, subject.tenant, subject.name, units, self._clock.now_us(), timeout=TIMEOUT_S)
            state.covered = position.merge(state.covered, batch.positions)
        if state.seal is None:
            state.seal = await self._load(subject)
        _know_partitions(state.seal, event_positions(batch.positions))
        if not state.measured or not position.covers(state.measured, batch.positions):
            state.totals, state.tail = await experiments.sizes(self._clickhouse, subject.tenant, subject.name, state.seal.positions)
            state.measured = position.merge(state.measured, batch.positions)
        return Ready(dict(state.seal.positions), state.totals + state.tail)

    async def maybe_seal(self, subject: Subject, positions: position.Positions, rows: int) -> None:
        """Fold the tail up to `positions` into the totals when it has this many rows. Nothing that `ready` gave may be in use meanwhile. Raises ClickHouseError."""
        state = self._states[subject]
        if state.tail < rows:
            return
        # Where this fails half way, the intent that is noted by then is what has to be carried out first.
        seal, state.seal = state.seal or await self._load(subject), None
        until = dict(seal.positions)
        for part, offset in event_positions(positions).items():
            until[part] = max(until.get(part, 0), offset + 1)
        state.seal, state.measured, state.tail = await self._advance(subject, seal, until), {}, 0

    async def _load(self, subject: Subject) -> _Seal:
        """The seal in force; an intent that was not completed is carried out again first."""
        seal = _Seal()
        steps = await experiments.seals(self._clickhouse, subject.tenant, subject.name)
        done = {sequence for sequence, completed, _ in steps if completed}
        for sequence, completed, positions in steps:
            if completed:
                seal = _Seal(sequence, positions)
            elif sequence not in done:
                seal = await self._carry_out(subject, seal, _Seal(sequence, positions))
        if seal.positions:
            _know_partitions(seal, await experiments.partitions(self._clickhouse, subject.tenant, subject.name))
        return seal

    async def _advance(self, subject: Subject, old: _Seal, until: dict[int, int]) -> _Seal:
        new = _Seal(old.sequence + 1, until)
        await self._note(subject, new, done=False)
        return await self._carry_out(subject, old, new)

    async def _carry_out(self, subject: Subject, old: _Seal, new: _Seal) -> _Seal:
        _know_partitions(old, new.positions)
        token = f"seal/{subject.tenant}/{subject.name}/{new.sequence}"
        await experiments.seal(self._clickhouse, subject.tenant, subject.name, old.positions, new.positions, token, timeout=TIMEOUT_S)
        await self._note(subject, new, done=True)
        return new

    async def _note(self, subject: Subject, seal: _Seal, *, done: bool) -> None:
        row = {
            "tenant": subject.tenant, "experiment": subject.name, "sequence": seal.sequence, "done": int(done), "positions": seal.positions,
            "at": sql_time(self._clock.now_us()),
        }  # fmt: skip
        await insert_rows(self._clickhouse, "seals", [row], token=f"seals/{subject.tenant}/{subject.name}/{seal.sequence}/{int(done)}")


def event_positions(positions: position.Positions) -> dict[int, int]:
    """Of positions, the offsets by partition of the events topic."""
    places = ((place.partition(":"), offset) for place, offset in positions.items())
    return {int(part): offset for (topic, _, part), offset in places if topic == EVENTS.name}


def _know_partitions(seal: _Seal, partitions: Iterable[int]) -> None:
    """A partition whose first events came after the seal has nothing behind it sealed."""
    if seal.positions:
        for part in partitions:
            seal.positions.setdefault(part, 0)
