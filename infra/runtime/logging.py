"""Logs of every process: text for people or JSON lines, on stderr, with secrets blanked out."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from structlog.typing import Processor

from infra.runtime.settings import Settings

HIDDEN: Final = "(hidden)"
_SECRET: Final = frozenset({"key", "api_key", "text", "secret", "password", "token", "authorization"})
"""Names of fields whose values are never written."""


def configure_logging(settings: Settings, service: str = "", *, for_command: bool = False) -> None:
    """Set up structlog and the standard library's logging for this process; the last call counts.

    `service` is in every line when given. `for_command` says only what is wrong, because the command itself speaks to the person
    who typed it; a level that was set by hand holds all the same.
    """
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    by_hand = "log_level" in settings.model_fields_set
    if for_command and not by_hand:
        level = logging.WARNING
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        blank_secrets,
    ]
    if service:
        shared.append(_named(service))
    last: list[Processor] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if not settings.log_json:
        # Never with the values of variables, some of which are secrets.
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,  # a cached logger keeps the stream it was made with
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last])
    )
    # Libraries speak only when something is wrong; their everyday lines are not ours to print.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    if for_command and not by_hand:
        # Its retries while a broker starts are part of every start; what comes of them is reported by the caller.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    else:
        logging.getLogger("aiokafka").setLevel(logging.NOTSET)


def blank_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: the values of fields with a secret's name are replaced."""
    for name in event.keys() & _SECRET:
        event[name] = HIDDEN
    return event


def _named(service: str) -> Processor:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add
