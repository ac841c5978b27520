"""Every surface of the query service: adding one is a folder and a line here."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from query_api.surfaces.experimentation import api_keys, audit_log, doors, exclusion_groups, experiments, flags, power, replay, results, users, webhooks
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.llm import projects, spans
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.platform import definitions, flow, health, home, lineage, live, windows
from query_api.surfaces.platform.policy import PLATFORM
from query_api.surfaces.policy import Policy

SURFACES: Final[Sequence[tuple[Policy, Sequence[APIRouter]]]] = (
    (PLATFORM, (home.router, health.router, lineage.router, flow.router, windows.router, definitions.router, live.router)),
    (LLM, (projects.router, spans.router)),
    (
        EXPERIMENTATION,
        (
            doors.router,
            experiments.router,
            results.router,
            replay.router,
            power.router,
            exclusion_groups.router,
            flags.router,
            users.router,
            api_keys.router,
            audit_log.router,
            webhooks.router,
        ),
    ),
)
"""The first one also answers for paths that belong to none."""
