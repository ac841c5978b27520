"""The crucible surface does what its OpenAPI document says: requests made from the document, right and wrong ones, against the whole platform.

A request that fits the document may be refused with 422 where a rule goes over several fields or over what is stored, never because the document
allows what the code does not.
"""

import uuid
from typing import Any

import httpx
import hypothesis
import pytest
from schemathesis import Case
from schemathesis.specs.openapi.checks import allow_header_conformance, negative_data_rejection, positive_data_acceptance, unsupported_method

from query_api.surfaces.crucible.policy import CRUCIBLE
from schemas.api_keys import hash_secret
from tests.flow import openapi
from tests.flow.stack import LiveStack
from tests.support import eventually_sync

TENANT, KEY = f"fuzz-{uuid.uuid4().hex[:8]}", f"fuzz-key-{uuid.uuid4().hex}"
# Every boundary of every field takes minutes.
_PHASES = {} if openapi.NIGHTLY else {"phases": {"coverage": {"enabled": False}}}
document = openapi.document(CRUCIBLE, KEY, _PHASES)

EXCLUDED = [
    positive_data_acceptance,
    negative_data_rejection,
    # `Allow` names every method of a path, also of a template that fits it beside its own.
    unsupported_method,
    allow_header_conformance,
]


@pytest.fixture(scope="module")
def address(live: LiveStack) -> str:
    """Of the surface, once it knows a tenant of our own."""
    url = live.url("crucible")
    live.define({"kind": "tenant", "id": TENANT}, {"kind": "key", "id": "fuzz", "tenant": TENANT, "sha256": hash_secret(KEY), "role": "admin"})
    eventually_sync(lambda: httpx.get(f"{url}/api/v1/experiments", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200)
    return url


@document.parametrize()
@hypothesis.settings(max_examples=openapi.examples(10), deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
def test_the_surface_is_as_documented(address: str, case: Case[Any]) -> None:
    case.call_and_validate(base_url=address, excluded_checks=EXCLUDED)
