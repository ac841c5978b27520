"""The surface does what its OpenAPI document says: requests made from the document, right and wrong ones, against the whole platform.

As for the experimentation surface, a request that fits the document may be refused with 422 where a rule goes over several fields or over what is
stored, never because the document allows what the code does not. The other way round it is mild, as its clients know it: 1 passes for true, and a
header that nobody knows for one that nobody needs.
"""

import uuid
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.specs.openapi.checks import allow_header_conformance, negative_data_rejection, positive_data_acceptance, unsupported_method

from query_api.surfaces.llm.policy import LLM
from schemas.api_keys import hash_secret
from tests.flow import openapi
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

TENANT, KEY = f"fuzz-{uuid.uuid4().hex[:8]}", f"fuzz-key-{uuid.uuid4().hex}"
_OVER_SEVERAL = "value_error"
"""The type of what rules over several fields refuse."""
_ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}
"""From this machine no key would be needed."""
# Every boundary of every field takes minutes.
_PHASES = {} if openapi.NIGHTLY else {"phases": {"coverage": {"enabled": False}}}
document = openapi.document(LLM, KEY, {"headers": _ELSEWHERE, **_PHASES})


EXCLUDED = [
    positive_data_acceptance,
    negative_data_rejection,
    # `Allow` names every method of a path, also of the template that `/v1/sessions/delete` fits beside its own.
    unsupported_method,
    allow_header_conformance,
]


@schemathesis.serializer("application/x-protobuf", "application/x-pandas-arrow")
def _as_it_is(_: object, content: object) -> bytes:
    return content if isinstance(content, bytes) else repr(content).encode()


@pytest.fixture(scope="module")
def address(live: LiveStack) -> str:
    """Of the surface, once it knows a tenant of our own."""
    url = live.url("llm")
    live.define({"kind": "tenant", "id": TENANT}, {"kind": "key", "id": "fuzz", "tenant": TENANT, "sha256": hash_secret(KEY), "role": "admin"})
    eventually_sync(lambda: httpx.get(f"{url}/v1/projects", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200)
    return url


def fits_the_document(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """A request that the document allows is not refused for the shape of a field."""
    refused = response.status_code == 422 and response.headers["content-type"][0].startswith("application/json")
    if refused and case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        wrong = [fault for fault in response.json()["detail"] if fault["loc"][0] in openapi.SHAPE and fault["type"] != _OVER_SEVERAL]
        assert not wrong, f"the document allows what the code refuses: {response.text}"


@document.parametrize()
@hypothesis.settings(max_examples=openapi.examples(10), deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
def test_the_surface_is_as_documented(address: str, case: Case[Any]) -> None:
    case.call_and_validate(base_url=address, additional_checks=[fits_the_document], excluded_checks=EXCLUDED)
