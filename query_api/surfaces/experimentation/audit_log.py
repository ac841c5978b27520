"""`audit-log`: who changed what."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from query_api.access import Caller
from query_api.control.audit import AuditFilter, AuditRecord
from query_api.dependencies import Allowed, SharedParts
from query_api.errors import error_responses
from query_api.surfaces.bodies import NAME_FORM
from query_api.surfaces.experimentation.answers import READ_ERRORS, PageLimit, PageMeta, PageNumber, instant, numbered
from query_api.surfaces.experimentation.policy import EXPERIMENTATION

router = APIRouter(tags=["audit log"])


class ActorModel(BaseModel):
    """Who made a change."""

    key_id: str = Field(description="Empty for a part of the platform.")
    key_name: str
    user_id: str | None = Field(description="Null for the key of a program.")


class AuditLine(BaseModel):
    """One change."""

    id: str = Field(examples=["aud_118"])
    at: datetime
    actor: ActorModel
    action: str = Field(examples=["experiment.started"])
    kind: str = Field(examples=["experiment"])
    subject_id: str = Field(description="Id of what was changed.", examples=["exp_8c1f0a9be2d34757"])
    before: dict[str, Any] = Field(description="The changed fields as they were; empty for something new.", examples=[{"status": "draft"}])
    after: dict[str, Any] = Field(description="The same fields as they became; empty for something removed.", examples=[{"status": "active"}])
    evidence: dict[str, Any] | None = Field(description="The facts behind a change that nobody asked for, such as a guardrail that tripped.")


class AuditPage(BaseModel):
    """A page of the audit log."""

    data: list[AuditLine]
    meta: PageMeta


@router.get(
    "/audit-log",
    response_model=AuditPage,
    operation_id="list_audit_log",
    summary="Who changed what",
    responses=error_responses(EXPERIMENTATION, *READ_ERRORS),
)
async def list_(
    parts: SharedParts,
    caller: Annotated[Caller, Allowed("audit:read")],
    kind: Annotated[str | None, Query(pattern=NAME_FORM, description="Only changes of this kind of thing.", examples=["experiment"])] = None,
    id: Annotated[str | None, Query(pattern=NAME_FORM, description="Only changes of the thing with this id.")] = None,
    actor: Annotated[str | None, Query(pattern=NAME_FORM, description="Only changes by the key or the user with this id.")] = None,
    action: Annotated[str | None, Query(pattern=NAME_FORM, description="Only these.", examples=["experiment.started"])] = None,
    page: PageNumber = 1,
    limit: PageLimit = EXPERIMENTATION.paging.default,
) -> Response:
    """Newest first. Lines are written in the transaction of the change and never altered; secrets are not in them."""
    found = await parts.control.audit_log(caller.tenant, AuditFilter(kind, id, actor, action), (page - 1) * limit, limit)
    return numbered([_line(record) for record in found.records], found.total, page, limit)


def _line(record: AuditRecord) -> dict[str, Any]:
    entry = record.entry
    return {
        "id": f"aud_{record.seq}",
        "at": instant(datetime.fromtimestamp(record.at_us / 1_000_000, UTC)),
        "actor": {"key_id": entry.actor.key_id, "key_name": entry.actor.key_name, "user_id": entry.actor.user_id or None},
        "action": entry.action,
        "kind": entry.kind,
        "subject_id": entry.id,
        "before": entry.before,
        "after": entry.after,
        "evidence": entry.evidence,
    }
