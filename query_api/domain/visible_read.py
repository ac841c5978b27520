"""Reads of the spans that are in a project, as of a watermark."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from query_api.control.projects import Project
from query_api.domain.projects import Projects
from query_api.freshness import Wait
from query_api.parts import Parts
from query_api.readers.visible_spans import SpansOfProject
from schemas.position import Positions

_Found = TypeVar("_Found")


async def read_visible(
    parts: Parts, tenant: str, identifier: str, wait: Wait, read: Callable[[Project, SpansOfProject], Awaitable[_Found]]
) -> tuple[Positions, _Found]:
    """What `read` finds among the spans that are in a project, and a watermark: everything up to it was there when `read` began.

    Every deletion and move that was answered before this call is in force. To look how far the store has come takes as long as a small read, so
    `read` begins beside the look, with what was deleted when somebody last looked, and is repeated where that has changed. A caller who waits for a
    position gets a read that begins after the look. Raises NotFound for an unknown project, NotVisibleYet, and whatever `read` does.
    """
    if wait.wanted:
        # What is waited for may be the span that makes the project.
        watermark = await parts.freshness.raw(wait)
        project = await Projects(parts).get(tenant, identifier)
    else:
        project = await Projects(parts).get(tenant, identifier)
        before, remembered = parts.freshness.known(), parts.visible.remembered(tenant, project.name)
        if before is None or remembered is None:
            watermark = await parts.freshness.watermark()
        else:
            watermark, found = await asyncio.gather(parts.freshness.watermark(), read(project, remembered))
            if await parts.visible.of_project(tenant, project.name, watermark) == remembered:
                return before, found
    return watermark, await read(project, await parts.visible.of_project(tenant, project.name, watermark))
