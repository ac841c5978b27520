"""What lives as long as its definition is kept from the garbage collector.

Ten thousand compiled flags are a million objects, and walking them all would stop every request for most of a second. They hold no
cycles, so they need no collector: the last reference frees them.
"""

from infra.runtime.collector import settle
from schemas.definitions import Change, Definitions

EVERY = 500
"""Changes after which what was made is set apart; few changes are not worth it."""


def spare_long_lived(definitions: Definitions) -> None:
    """From now on, set apart what definitions are made into. Call it after everything that listens to changes was made."""
    changes = 0

    def changed(_: Change) -> None:
        nonlocal changes
        changes += 1
        if changes % EVERY == 0:
            settle()

    definitions.on_change(changed)
