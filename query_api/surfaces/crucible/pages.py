"""The page for people at the root of the surface: experiments, runs as they go on and statistical tests, through the REST API and the socket of any client."""

from typing import Final

from query_api.surfaces.site import Site

router: Final = Site("query_api.surfaces.crucible").router
