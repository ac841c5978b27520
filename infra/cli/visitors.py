"""Simulated shop visitors: what they do, and the ways in which real traffic is untidy."""

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.bucketing import bucket
from schemas.windows import to_iso

EXPERIMENT: Final = "demo_checkout"
CONTROL: Final = "two_pages"
TREATMENT: Final = "one_page"

DEFINITIONS: Final = f"""
- {{kind: metric, id: demo_conversion, event_type: purchase, type: proportion, name: Visitors who buy}}
- {{kind: metric, id: demo_revenue, event_type: purchase, type: mean, value_path: value, name: Revenue per visitor}}
- {{kind: metric, id: demo_orders, event_type: purchase, type: count, name: Orders per visitor}}
- kind: experiment
  id: {EXPERIMENT}
  name: Checkout on one page
  variants: [{{name: {CONTROL}, control: true}}, {{name: {TREATMENT}}}]
  metrics: [demo_conversion, demo_revenue, demo_orders]
"""

_CONVERSION = 0.10
_REVENUE_MU, _REVENUE_SIGMA = 3.4, 0.6
_RETURNS = 0.25
"""Share of visitors who come back once."""
_BUYS_AGAIN = 0.05
"""Chance that a visitor who came back buys (again)."""
_DUPLICATE = 0.05
"""Share of events that are sent again, with the same id, in a later batch."""
_LATE = 0.04
"""Share of events that are held back and arrive long after they happened."""

Event = dict[str, Any]


@dataclass(order=True)
class _Planned:
    """Something that will be sent at a time."""

    at_us: int
    order: int
    event: Event = field(compare=False)


class Shop:
    """Makes the events of visitors who come at a steady rate. The same seed and times give the same events."""

    def __init__(self, run: str, *, rate: float, effect: float, seed: int = 0) -> None:
        """`rate` visitors a second; `effect` is the relative change of the conversion rate by the treatment."""
        self._run = run
        self._rate = rate
        self._effect = effect
        self._random = random.Random(seed)
        self._planned: list[_Planned] = []
        self._order = 0
        self._due = 0.0
        self._sent: deque[Event] = deque(maxlen=500)
        self.visitors = 0
        self.events = 0
        """Distinct events handed out."""
        self.duplicates = 0
        self.late = 0
        """Events handed out at least ten seconds after they happened."""

    def step(self, now_us: int, elapsed_s: float) -> list[Event]:
        """What is to be sent now: the events of `elapsed_s` more seconds of visitors, repeats and late ones included."""
        self._due += self._rate * elapsed_s
        while self._due >= 1:
            self._due -= 1
            self._visit(now_us - int(self._random.random() * elapsed_s * 1_000_000))
        again = [event for event in self._sent if self._random.random() < _DUPLICATE]
        self.duplicates += len(again)
        self._sent.clear()
        fresh = [planned.event for planned in self._until(now_us)]
        self._sent.extend(fresh)
        return fresh + again

    def rest(self) -> list[Event]:
        """Everything still planned, at once: the end of the simulation."""
        return [planned.event for planned in self._until(None)]

    def _visit(self, at_us: int) -> None:
        user = f"{self._run}-{self.visitors}"
        self.visitors += 1
        variant = CONTROL if bucket(user, EXPERIMENT) < 0.5 else TREATMENT
        self._plan(user, "exposure", at_us, variant=variant)
        if self._random.random() < _CONVERSION * (1 + (self._effect if variant == TREATMENT else 0)):
            self._buy(user, at_us + self._seconds(1, 6))
        if self._random.random() < _RETURNS:
            back_us = at_us + self._seconds(5, 25)
            self._plan(user, "exposure", back_us, variant=variant)
            if self._random.random() < _BUYS_AGAIN:
                self._buy(user, back_us + self._seconds(1, 4))

    def _buy(self, user: str, at_us: int) -> None:
        value = round(self._random.lognormvariate(_REVENUE_MU, _REVENUE_SIGMA), 2)
        self._plan(user, "purchase", at_us, metadata={"value": value, "currency": "EUR"})

    def _plan(self, user: str, event_type: str, at_us: int, **more: Any) -> None:
        self._order += 1
        event = {
            "id": f"{self._run}-e{self._order}",
            "user_id": user,
            "event_type": event_type,
            "experiment_id": EXPERIMENT,
            "timestamp": to_iso(at_us),
            **more,
        }
        held = self._seconds(10, 90) if self._random.random() < _LATE else 0
        self.late += bool(held)
        heapq.heappush(self._planned, _Planned(at_us + held, self._order, event))

    def _until(self, now_us: int | None) -> list[_Planned]:
        ready = []
        while self._planned and (now_us is None or self._planned[0].at_us <= now_us):
            ready.append(heapq.heappop(self._planned))
        self.events += len(ready)
        return ready

    def _seconds(self, low: float, high: float) -> int:
        return int(self._random.uniform(low, high) * 1_000_000)
