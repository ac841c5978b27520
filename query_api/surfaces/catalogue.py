"""Every surface of the query service: adding one is a folder and a line here."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from query_api.surfaces.crucible import doors as telemetry_doors
from query_api.surfaces.crucible import experiments as ml_experiments
from query_api.surfaces.crucible import exports as ml_exports
from query_api.surfaces.crucible import models as ml_models
from query_api.surfaces.crucible import runs, session, statistical_results, telemetry
from query_api.surfaces.crucible.policy import CRUCIBLE
from query_api.surfaces.experimentation import api_keys, audit_log, doors, exclusion_groups, experiments, flags, power, replay, results, users, webhooks
from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from query_api.surfaces.llm import (
    annotation_configs,
    annotations,
    costs,
    dataset_splits,
    datasets,
    evaluation_rules,
    evaluations,
    experiment_runs,
    notes,
    projects,
    prompts,
    sessions,
    span_query,
    spans,
    traces,
)
from query_api.surfaces.llm import experiments as llm_experiments
from query_api.surfaces.llm import users as llm_users
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.platform import definitions, flow, health, home, lineage, live, windows
from query_api.surfaces.platform.policy import PLATFORM
from query_api.surfaces.policy import Policy

SURFACES: Final[Sequence[tuple[Policy, Sequence[APIRouter]]]] = (
    (PLATFORM, (home.router, health.router, lineage.router, flow.router, windows.router, definitions.router, live.router)),
    (
        LLM,
        (
            projects.router,
            annotations.router,
            notes.router,
            evaluations.router,
            costs.router,
            spans.router,
            span_query.router,
            traces.router,
            sessions.router,
            prompts.router,
            llm_users.router,
            datasets.router,
            dataset_splits.router,
            llm_experiments.router,
            experiment_runs.router,
            evaluation_rules.router,
            annotation_configs.router,
        ),
    ),
    (
        CRUCIBLE,
        (
            telemetry_doors.router,
            session.router,
            ml_experiments.router,
            runs.router,
            telemetry.router,
            ml_models.router,
            statistical_results.router,
            ml_exports.router,
        ),
    ),
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
