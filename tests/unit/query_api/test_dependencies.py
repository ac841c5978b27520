"""What routes ask for is found in the event loop."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute

from query_api.surfaces.catalogue import SURFACES

_ROUTES = [route for policy, routers in SURFACES if policy.name in ("experimentation", "platform") for router in routers for route in router.routes]


def _asked(endpoint: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    for dependant in get_dependant(path="/", call=endpoint).dependencies:
        assert dependant.call is not None
        yield dependant.call
        yield from _asked(dependant.call)


def _in_the_loop(call: Any) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


@pytest.mark.parametrize("route", [route for route in _ROUTES if isinstance(route, APIRoute)], ids=lambda route: str(route.name))
def test_nothing_a_route_asks_for_is_found_in_a_thread(route: APIRoute) -> None:
    assert [call for call in _asked(route.endpoint) if not _in_the_loop(call)] == []
