"""The surface does what its OpenAPI document says: requests made from the document, right and wrong ones, against the whole platform.

Every check of schemathesis holds, but one is replaced by a sharper one: a request that fits the document may be refused with 422 where a rule
goes over several fields or over what is stored, never because the document allows what the code does not.
"""

import uuid
from typing import Any

import httpx
import hypothesis
import pytest
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

from query_api.surfaces.experimentation.policy import EXPERIMENTATION
from schemas.api_keys import hash_secret
from tests.flow import openapi
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

TENANT, KEY = f"fuzz-{uuid.uuid4().hex[:8]}", f"fuzz-key-{uuid.uuid4().hex}"
document = openapi.document(EXPERIMENTATION, KEY)


@pytest.fixture(scope="module")
def address(live: LiveStack) -> str:
    """Of the surface, once it knows a tenant of our own and what is in it."""
    url = live.url("experimentation")
    variants = [{"id": f"var_{name}", "name": name} for name in ("control", "treatment")]
    variations = [{"id": f"var_{key}", "key": key, "value": key == "on"} for key in ("on", "off")]
    live.define(
        {"kind": "tenant", "id": TENANT},
        {"kind": "key", "id": "fuzz", "tenant": TENANT, "sha256": hash_secret(KEY), "role": "admin"},
        # What the examples of the document ask for.
        {"kind": "experiment", "id": "exp_12345", "tenant": TENANT, "variants": variants},
        {"kind": "flag", "key": "new_checkout_flow", "tenant": TENANT, "enabled": True, "variations": variations},
    )
    headers = {"Authorization": f"Bearer {KEY}"}
    for path in ("/api/v1/users", "/api/v1/feature-flags/evaluate?key=new_checkout_flow&user_id=a", "/api/v1/assignments?experiment_id=exp_12345&user_id=a"):
        eventually_sync(lambda path=path: httpx.get(url + path, headers=headers).status_code == 200)  # type: ignore[misc]
    return url


def fits_the_document(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """A request that the document allows is not refused for the shape of a field."""
    if response.status_code == 422 and case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        fields = [each["field"] for each in response.json()["error"]["details"].get("fields", [])]
        wrong = [field for field in fields if field.partition(".")[0] in openapi.SHAPE]
        assert not wrong, f"the document allows what the code refuses: {response.text}"


@document.parametrize()
@hypothesis.settings(max_examples=openapi.examples(50), deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
def test_the_surface_is_as_documented(address: str, case: Case[Any]) -> None:
    case.call_and_validate(base_url=address, additional_checks=[fits_the_document], excluded_checks=[positive_data_acceptance])
