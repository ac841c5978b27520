"""Places where a test may kill the worker, so that the promises hold where it hurts most."""

import os
import signal

_ARMED = os.environ.get("MILLSTREAM_FAILPOINT", "")
"""`name:count`: the process kills itself the count-th time it passes the point. Unset outside tests."""


class _Countdown:
    def __init__(self, armed: str) -> None:
        self.name, _, count = armed.partition(":")
        self.left = int(count or 1)


_countdown = _Countdown(_ARMED)


def passing(name: str) -> None:
    """Die here with SIGKILL when a test armed this point; otherwise do nothing."""
    if _countdown.name == name:
        _countdown.left -= 1
        if _countdown.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
