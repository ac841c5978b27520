"""Who goes first in the engine. Both are without effect where the server may not change the niceness of its threads (CAP_SYS_NICE)."""

from typing import Final

URGENT: Final = {"os_threads_nice_value_query": -5}
"""Before blocks and merges: for what is short and somebody waits for."""
PATIENT: Final = {"os_threads_nice_value_query": 5}
"""Behind those who read and what is stored for them: for long readings that are repeated. They get a third of what blocks get, so that on a busy machine they
come later and not never."""
