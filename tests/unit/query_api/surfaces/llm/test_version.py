"""What clients ask before they rely on a feature."""

import httpx

from tests.unit.query_api.stored import Service


async def test_the_version_stands_at_the_root_and_in_every_answer(service: Service) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app, client=("192.0.2.7", 1)), base_url="http://query") as http:
        version = await http.get("/llm/arize_phoenix_version")
        assert version.status_code == 200 and version.headers["content-type"].startswith("text/plain")
        assert [part.isdecimal() for part in version.text.split(".")] == [True] * 3
        document = await http.get("/llm/openapi.json")
        described = (await http.get("/llm/v1/openapi.json")).json()
        assert document.json() == {**described, "servers": [{"url": "."}]} and "/v1/prompts" in described["paths"]
        unknown = [await http.get(f"/llm{path}") for path in ("/v1/nothing", "/v1/prompts/a/b/c", "/nothing")]
        refused = await http.get("/llm/v1/prompts")
        other = await http.get("/platform/v1/health/live")
    assert all(answer.status_code == 404 and answer.headers["content-type"].startswith("text/plain") for answer in unknown)
    assert refused.status_code == 401
    for answer in (version, document, *unknown, refused):
        assert answer.headers["x-phoenix-server-version"] == version.text
    assert "x-phoenix-server-version" not in other.headers
