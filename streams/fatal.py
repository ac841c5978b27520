"""Stopping the worker: the supervisor starts it again, and everything a sink does may be repeated."""

import os
from typing import NoReturn

import structlog

_log = structlog.get_logger()

DEFECT = 70
"""Exit status after an error nobody expected."""
TOO_MANY_DEAD = 78
"""Exit status after too many dead letters; starting again would not help, so the supervisor gives up with this message."""


def stop_worker(status: int, why: str, **facts: object) -> NoReturn:
    """End the process at once, without committing anything more. Never returns."""
    _log.critical(why, exit_status=status, **facts)
    os._exit(status)
