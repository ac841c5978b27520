"""Everything a surface may use, built once by `query_api.app` and handed to every route."""

from dataclasses import dataclass

from infra.runtime.clock import Clock
from infra.runtime.settings import Settings
from query_api.access import Access
from query_api.block_writer import BlockWriter
from query_api.control.outbox import OutboxPublisher
from query_api.control.projects import Project
from query_api.control.store import ControlStore
from query_api.control.while_unchanged import WhileUnchanged
from query_api.domain.health import Probes
from query_api.domain.pinning import Pinning
from query_api.domain.shown import ShownResults
from query_api.domain.stored import StoredDefinitions
from query_api.domain.webhooks import Webhooks
from query_api.freshness import Freshness
from query_api.live.channel_topics import ChannelTopics
from query_api.live.flow import Flow
from query_api.live.hub import Hub
from query_api.live.latest import LatestWindows
from query_api.readers.broker import Broker
from query_api.readers.key_usage import KeyUsage
from query_api.readers.newest_spans import NewestSpans
from query_api.readers.rows import Rows
from query_api.readers.visible_spans import VisibleSpans
from schemas.definitions import Definitions


@dataclass(frozen=True)
class Parts:
    """The parts of the query service. None of them does I/O before the lifespan started it."""

    settings: Settings
    clock: Clock
    definitions: Definitions
    """The definitions in force, from the control topic: there also while the control store is down."""
    access: Access
    rows: Rows
    """ClickHouse, as the read-only user."""
    visible: VisibleSpans
    """What reads of spans may see."""
    newest: NewestSpans
    broker: Broker
    freshness: Freshness
    writer: BlockWriter
    """Writes that travel the flow."""
    hub: Hub
    latest: LatestWindows
    """Cumulative windows that are read often."""
    shown: ShownResults
    flow: Flow
    probes: Probes
    control: ControlStore
    """Where definitions are written; call `outbox.wake()` after a change."""
    projects: WhileUnchanged[tuple[str, str], Project]
    """By tenant and what a caller names a project by."""
    outbox: OutboxPublisher
    key_usage: KeyUsage
    """When each key was last used."""
    webhooks: Webhooks
    channels: ChannelTopics
    """What clients of the crucible socket may join."""
    pinning: Pinning
    """Keeps exposed units in their variants."""

    @property
    def stored(self) -> StoredDefinitions:
        """Definitions for operations that read back what they write."""
        return StoredDefinitions(self.control, self.definitions, self.clock, self.outbox.wake)
