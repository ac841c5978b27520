"""Hands each update to the subscriptions it belongs to. Belongs to one event loop; nothing in it waits for a client."""

from collections import defaultdict

from query_api.live.subscription import EVERY, Subscription
from query_api.readers.window_state import WindowState


class Hub:
    """The meeting place of the updates topic and the live clients."""

    def __init__(self) -> None:
        self._by_subject: dict[tuple[str, str, str], set[Subscription]] = defaultdict(set)
        self.gaps = 0
        """Times the updates topic was lost; every client then reads from the tables what it may have missed."""
        self.updates = 0
        """Updates received."""
        self.connected = False
        """Whether the updates topic is being read now."""

    def add(self, subscription: Subscription) -> None:
        """From now on the subscription gets updates."""
        topic = subscription.topic
        self._by_subject[topic.tenant, topic.kind, topic.subject].add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Ends it; idempotent."""
        topic = subscription.topic
        place = (topic.tenant, topic.kind, topic.subject)
        self._by_subject[place].discard(subscription)
        if not self._by_subject[place]:
            del self._by_subject[place]

    def publish(self, state: WindowState) -> None:
        """Gives an update to everyone who subscribed to it, in the order of the calls."""
        self.updates += 1
        for subject in (state.subject, EVERY):
            for subscription in self._by_subject.get((state.tenant, state.kind, subject), ()):
                if subscription.topic.takes(state):
                    subscription.deliver(state)

    def lost(self, since_us: int) -> None:
        """The updates topic was lost for a while: whatever was computed since then may be missing. Every subscription
        reads it again."""
        self.gaps += 1
        for subscriptions in self._by_subject.values():
            for subscription in subscriptions:
                subscription.outbox.lose(since_us)

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return sum(len(found) for found in self._by_subject.values())
