"""`evaluation_rules`: which spans are judged as they arrive, by what, and when somebody is told."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.responses import Response

from query_api.access import Caller
from query_api.dependencies import Allowed, SharedParts, SurfacePolicy
from query_api.domain.evaluation_rules import create_rule, delete_rule, get_rule, list_rules, replace_rule, rule_json
from query_api.domain.evaluation_trial import MAX_ASKED, MAX_SHOWN, try_rule
from query_api.errors import error_responses
from query_api.surfaces.llm.policy import LLM
from query_api.surfaces.policy import json_response, list_response
from schemas.evaluation_rule import MAX_ALERTS, Alert
from schemas.evaluators.catalogue import Evaluator

router = APIRouter(tags=["evaluation rules"])

_READ = ("unauthenticated", "forbidden", "validation_failed", "unavailable", "internal")
_CHANGE = (*_READ, "conflict")
_TEST = (*_READ, "query_limit", "invalid_argument")
_NAME = r"^[^\x00-\x1f\x7f]{1,200}$"

RuleId = Annotated[str, Path(pattern=_NAME, description="Id of the rule.", examples=["rule_8c1f0a9be2d34757"])]
Reads = Annotated[Caller, Allowed("traces:read")]
Writes = Annotated[Caller, Allowed("evaluations:write")]


def _schema(cls: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a struct, in one piece."""
    (_, *_), parts = msgspec.json.schema_components([cls], ref_template="{name}")

    def whole(node: Any) -> Any:
        if isinstance(node, dict):
            return whole(parts[node["$ref"]]) if "$ref" in node else {name: whole(value) for name, value in node.items()}
        return [whole(item) for item in node] if isinstance(node, list) else node

    found: dict[str, Any] = whole(parts[cls.__name__])
    return found


EvaluatorBody = Annotated[dict[str, Any], WithJsonSchema({"oneOf": [_schema(cls) for cls in get_args(Evaluator)]})]
AlertBody = Annotated[dict[str, Any], WithJsonSchema(_schema(Alert))]


class Rule(BaseModel):
    """A rule to store."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(None, pattern=_NAME, description="Made up when left out.")
    annotation: str = Field(pattern=_NAME, description="Name of the annotations it writes; their identifier is the rule's id.", examples=["polite"])
    evaluator: EvaluatorBody = Field(description="What judges.", examples=[{"type": "regex", "pattern": "(?i)sorry", "wanted": False}])
    name: str = Field("", max_length=200)
    description: str = Field("", max_length=10_000)
    project: str = Field("", max_length=300, description="Name or GlobalID of the project whose spans are judged; empty for all.", examples=["my-agent"])
    filter: str = Field("", max_length=10_000, description="Which spans, in the filter language of spans; empty for all.", examples=["span_kind == 'LLM'"])
    sampling_rate: float = Field(1.0, ge=0, le=1, description="Share of these spans that is judged; always the same ones.")
    unit: Literal["span", "trace_root"] = Field("span", description="trace_root: only spans without a parent; the annotation is the trace's.")
    enabled: bool = True
    alerts: list[AlertBody] = Field([], max_length=MAX_ALERTS, description="Thresholds on the evaluations of the last minutes.")

    def given(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: value for name, value in self.model_dump(exclude_unset=True).items() if name != "id" or value is not None}


class StoredRule(Rule):
    """A rule."""

    id: str
    created_at: datetime | None = Field(description="Spans that arrived before are not judged.")
    updated_at: datetime | None


class One(BaseModel):
    """One rule."""

    data: StoredRule


class Several(BaseModel):
    """A page of rules."""

    data: list[StoredRule]
    next_cursor: str | None


class Trial(BaseModel):
    """A rule to try."""

    model_config = ConfigDict(extra="forbid")

    rule: Rule
    spans: int = Field(100, ge=1, le=1_000, description="How many of the newest spans of its project are looked at.")
    ask_model: bool = Field(
        False, description=f"Of a judge: ask its model about the first {MAX_ASKED} spans that the rule applies to, instead of only showing the prompts."
    )


class Failure(BaseModel):
    """Why there is no judgement."""

    reason: str
    detail: str


class TrialResult(BaseModel):
    """What the rule would say of one span."""

    trace_id: str
    span_id: str
    name: str
    start_time: datetime
    label: str | None = None
    score: float | None = None
    explanation: str | None = None
    prompt: str | None = Field(None, description="Of a judge.")
    failure: Failure | None = None


class TrialResults(BaseModel):
    """What the rule would say."""

    spans: int = Field(description="Spans that were looked at.")
    applies: int = Field(description="Those that the rule applies to.")
    results: list[TrialResult] = Field(description=f"The newest {MAX_SHOWN} of these.")


class Tried(BaseModel):
    """What the rule would say."""

    data: TrialResults


@router.get(
    "/evaluation_rules", response_model=Several, operation_id="getEvaluationRules", summary="List evaluation rules", responses=error_responses(LLM, *_READ)
)
async def rules(
    parts: SharedParts,
    policy: SurfacePolicy,
    caller: Reads,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most rules in the answer.")] = 100,
) -> Response:
    """By id."""
    return list_response(policy, await list_rules(parts.stored, caller.tenant, limit=limit, cursor=cursor))


@router.post(
    "/evaluation_rules",
    response_model=One,
    operation_id="createEvaluationRule",
    summary="Create an evaluation rule",
    responses=error_responses(LLM, *_CHANGE),
)
async def create(parts: SharedParts, caller: Writes, body: Rule) -> Response:
    """It judges the spans that arrive from now on; the workers know it within two seconds."""
    return json_response({"data": rule_json(await create_rule(parts, caller, body.given()))})


@router.post(
    "/evaluation_rules/test",
    response_model=Tried,
    response_model_exclude_unset=True,
    operation_id="testEvaluationRule",
    summary="Try an evaluation rule on stored spans",
    responses=error_responses(LLM, *_TEST),
)
async def test(parts: SharedParts, caller: Writes, body: Trial) -> Response:
    """Writes nothing. A span that the rule's sample leaves out does not apply."""
    return json_response({"data": await try_rule(parts, caller.tenant, body.rule.given(), spans=body.spans, ask=body.ask_model)})


@router.get(
    "/evaluation_rules/{rule_id}",
    response_model=One,
    operation_id="getEvaluationRule",
    summary="Get an evaluation rule",
    responses=error_responses(LLM, *_READ, "not_found"),
)
async def rule(parts: SharedParts, caller: Reads, rule_id: RuleId) -> Response:
    """One rule."""
    return json_response({"data": rule_json(await get_rule(parts.stored, caller.tenant, rule_id))})


@router.put(
    "/evaluation_rules/{rule_id}",
    response_model=One,
    operation_id="replaceEvaluationRule",
    summary="Replace an evaluation rule",
    responses=error_responses(LLM, *_CHANGE, "not_found"),
)
async def replace(parts: SharedParts, caller: Writes, rule_id: RuleId, body: Rule) -> Response:
    """Fields left out take their defaults. It holds for spans that arrive from now on; what was judged stays as it is."""
    return json_response({"data": rule_json(await replace_rule(parts, caller, rule_id, body.given()))})


@router.delete(
    "/evaluation_rules/{rule_id}",
    status_code=204,
    operation_id="deleteEvaluationRule",
    summary="Delete an evaluation rule",
    responses=error_responses(LLM, *_CHANGE, "not_found"),
)
async def remove(parts: SharedParts, caller: Writes, rule_id: RuleId) -> Response:
    """Its annotations and figures stay. Spans that wait for its judge are not judged."""
    await delete_rule(parts, caller, rule_id)
    return Response(status_code=204)
