"""Python's garbage collector, for a process that serves for days."""

import gc

_YOUNG, _MIDDLE, _OLD = 10_000, 20, 50


def settle() -> None:
    """Take everything that was made so far out of the collector's rounds; call it when the process begins to serve, and after much was made that stays.

    Modules, schemas and clients live as long as the process, but a full round would walk them again and again: some 100 ms each
    time, in which every request waits. What is made later is collected as before, in larger portions.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
