"""What the tests of OpenAPI documents share: the document of a surface, and how the requests made from it are sent."""

import os
from collections.abc import Mapping
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema

from query_api.surfaces.catalogue import SURFACES
from query_api.surfaces.mount import surface_app
from query_api.surfaces.policy import Policy
from tests.unit.query_api.parts import AwayRows, make_parts

NIGHTLY = "FUZZ_EXAMPLES" in os.environ
SHAPE = ("body", "query", "path", "header")
"""Where the fields stand that the code checks one by one, before any rule over several."""


def examples(usually: int) -> int:
    """How many requests to make for each operation."""
    return int(os.environ.get("FUZZ_EXAMPLES", usually))


def surface_document(policy: Policy) -> dict[str, Any]:
    """The document as it is served."""
    routers = next(routers for each, routers in SURFACES if each is policy)
    return surface_app(policy, make_parts(AwayRows()), routers).openapi()


def document(policy: Policy, key: str, more: Mapping[str, Any] | None = None) -> OpenApiSchema:
    """The document of a surface, with a key for requests made from it and `more` configuration of schemathesis."""
    config = {
        "generation": {"mode": "all"},
        "auth": {"openapi": {"api_key": {"bearer": key}}},
        # No request waits for a position of its own invention.
        "parameters": {"header.X-Millstream-Wait-For": "", "header.X-Millstream-Wait-Timeout": "0"},
        **(more or {}),
    }
    return schemathesis.openapi.from_dict(surface_document(policy), config=SchemathesisConfig.from_dict(config))
