"""Makes, reads and extends datasets with the client, once as it is and once asynchronously; prints what it got."""

import asyncio
import inspect
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from phoenix.client import AsyncClient, Client

given = json.load(sys.stdin)


async def plain(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def held(dataset: Any) -> list[Any]:
    return [[each["input"], each["output"], each["metadata"]] for each in dataset]


async def use(client: Any, name: str) -> dict[str, Any]:
    datasets = client.datasets
    made = await plain(
        datasets.create_dataset(
            name=name,
            dataset_description="sums",
            examples=[
                {"input": {"q": "1 + 1"}, "output": {"a": "2"}, "metadata": {"level": 1}, "splits": "train", "id": "one"},
                {"input": {"q": "2 + 2"}, "output": {"a": "4"}, "splits": ["train", "hard"], "id": "two"},
            ],
        )
    )
    shown = {
        "made": [made.name, made.description, made.example_count, held(made), [each["id"] for each in made]],
        "frame": made.to_dataframe().reset_index().to_dict(orient="records"),
        "listed": made.id in [each["id"] for each in await plain(datasets.list())],
        "by_name": (await plain(datasets.get_dataset(dataset=name))).id == made.id,
        "hard": held(await plain(datasets.get_dataset(dataset=made.id, splits=["hard"]))),
        "same": (
            await plain(datasets.create_dataset(name=name, examples=[{name: each[name] for name in ("input", "output", "metadata", "id")} for each in made]))
        ).version_id
        == made.version_id,
    }
    appended = await plain(datasets.add_examples_to_dataset(dataset=name, inputs=[{"q": "3 + 3"}], outputs=[{"a": "6"}]))
    shown["appended"] = [held(appended), appended.version_id != made.version_id]
    shown["versions"] = [each["version_id"] for each in await plain(datasets.get_dataset_versions(dataset=made.id))] == [appended.version_id, made.version_id]
    shown["before"] = held(await plain(datasets.get_dataset(dataset=made.id, version_id=made.version_id)))

    frame = pd.DataFrame({"prompt": ["a, b", 'say "c"'], "response": ["x", None], "score": [0.5, 1.0], "part": ["train", '["hard"]'], "own": ["f1", "f2"]})
    keys: dict[str, Any] = {"input_keys": ["prompt"], "output_keys": ["response"], "metadata_keys": ["score"], "split_key": "part", "example_id_key": "own"}
    shown["from_frame"] = held(await plain(datasets.create_dataset(name=f"{name} frame", dataframe=frame, **keys)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        frame.assign(score=[0.5, 2.0]).to_csv(path, index=False)
        shown["from_file"] = held(await plain(datasets.create_dataset(name=f"{name} frame", csv_file_path=path, **keys)))
        ragged = Path(folder) / "ragged.csv"
        ragged.write_text("prompt,response\na,b\nc\n")
        try:
            await plain(datasets.create_dataset(name=f"{name} ragged", csv_file_path=ragged, input_keys=["prompt"]))
        except Exception as error:  # noqa: BLE001
            shown["ragged"] = str(error)
    try:
        await plain(datasets.get_dataset(dataset=f"{name} ragged"))
    except ValueError as error:
        shown["unknown"] = str(error)
    return shown


print(json.dumps([asyncio.run(use(kind(**given["client"]), f"{given['name']} {kind.__name__}")) for kind in (Client, AsyncClient)]))
