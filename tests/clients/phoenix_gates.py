"""Holds the announced version to its word: whatever a client uses from a version on is there when that version is announced."""

import re
from typing import Any

import httpx


def broken_promises(base: str, gates: list[dict[str, Any]]) -> list[str]:
    """The gates of a client that the announced version opens, but whose operation or parameter OpenAPI does not describe."""
    announced = [int(part) for part in httpx.get(f"{base}/arize_phoenix_version").raise_for_status().text.split(".")]
    document = httpx.get(f"{base}/openapi.json").raise_for_status().json()
    operations = {_shape(f"{method.upper()} {path}"): operation for path, methods in document["paths"].items() for method, operation in methods.items()}
    broken = []
    for gate in gates:
        if gate["version"] > announced:
            broken.append(f"{gate} is not open")
        elif (operation := operations.get(_shape(gate["route"]))) is None:
            broken.append(f"{gate['route']} is missing")
        elif "parameter" in gate and not _takes(document, operation, gate):
            broken.append(f"{gate['route']} takes no {gate['parameter']}")
    return broken


def _shape(route: str) -> str:
    """A route without the names of what stands in its path."""
    return re.sub(r"{\w+}", "{}", route)


def _takes(document: dict[str, Any], operation: dict[str, Any], gate: dict[str, Any]) -> bool:
    if gate["where"] == "query":
        return gate["parameter"] in {parameter["name"] for parameter in operation["parameters"]}
    bodies = [content["schema"] for content in operation["requestBody"]["content"].values()]
    return any(gate["parameter"] in _fields(document, schema) for schema in bodies)


def _fields(document: dict[str, Any], schema: dict[str, Any], seen: frozenset[str] = frozenset()) -> set[str]:
    """The fields of a body, at whatever depth."""
    if name := schema.get("$ref"):
        return set() if name in seen else _fields(document, document["components"]["schemas"][name.rpartition("/")[2]], seen | {name})
    own = schema.get("properties", {})
    parts = [*own.values(), *(each for name in ("anyOf", "oneOf", "allOf") for each in schema.get(name, ())), *([schema["items"]] if "items" in schema else [])]
    return set(own).union(*(_fields(document, part, seen) for part in parts))
