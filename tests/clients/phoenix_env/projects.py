"""Makes, lists, gets, changes and deletes projects with the client, once as it is and once asynchronously; prints what it got."""

import asyncio
import inspect
import json
import sys
from typing import Any

from phoenix.client import AsyncClient, Client

given = json.load(sys.stdin)


async def plain(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def use(client: Any, name: str) -> dict[str, Any]:
    projects = client.projects
    made = await plain(projects.create(name=name, description="This is a new project"))
    shown = {
        "made": made,
        "by_id": await plain(projects.get(project_id=made["id"])),
        "by_name": await plain(projects.get(project_name=name)),
        "listed": made in await plain(projects.list()),
        "changed": await plain(projects.update(project_id=made["id"], description="Another")),
    }
    await plain(projects.delete(project_name=name))
    shown["left"] = [each for each in await plain(projects.list()) if each["name"] == name]
    try:
        await plain(projects.delete(project_name="default"))
    except Exception as error:  # noqa: BLE001
        shown["default"] = str(error)
    return shown


answers = [asyncio.run(use(kind(**given["client"]), f"{given['name']} {kind.__name__}")) for kind in (Client, AsyncClient)]
print(json.dumps(answers))
