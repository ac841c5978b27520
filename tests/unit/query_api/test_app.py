"""The whole service with everything behind it away: it starts, says so, and stops."""

import asyncio
from pathlib import Path

import httpx

from infra.runtime.settings import ClickHouseSettings, KafkaSettings, Settings
from query_api.app import create_app
from tests.support import free_port


async def test_it_starts_answers_and_stops_with_everything_away(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        kafka=KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}"),
        clickhouse=ClickHouseSettings(url=f"http://127.0.0.1:{free_port()}"),
    )
    app = create_app(settings)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query")
    async with asyncio.timeout(30), app.router.lifespan_context(app), http:
        assert (await http.get("/platform/v1/health/live")).status_code == 200
        ready = await http.get("/platform/v1/health/ready")
        assert ready.status_code == 503
        away = {part["part"] for part in ready.json()["parts"] if not part["ready"]}
        assert {"clickhouse", "kafka", "definitions", "workers"} <= away
        spans = await http.get("/llm/v1/projects/default/spans")
        assert (spans.status_code, spans.headers["retry-after"]) == (503, "1")
        unknown = await http.get("/platform/v1/topics", headers={"api-key": "nobody"})
        assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "1"), "the key may be on the topic that was not read yet"
