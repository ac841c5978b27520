"""Runs, resumes, evaluates and reads experiments with the client, as it is or asynchronously; prints what it got."""

import asyncio
import contextlib
import inspect
import json
import os
import sys
from typing import Any

from phoenix.client import AsyncClient, Client

given = json.load(sys.stdin)


async def plain(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def exact(output: Any, expected: Any) -> float:
    return float(output == expected["a"])


def length(output: Any) -> dict[str, Any]:
    return {"score": len(str(output)) / 10, "label": "short", "explanation": "few letters"}


async def use(client: Any, name: str) -> dict[str, Any]:
    asynchronous = isinstance(client, AsyncClient)
    inputs = [{"q": str(number)} for number in range(3)]
    dataset = await plain(client.datasets.create_dataset(name=name, inputs=inputs, outputs=[{"a": str(2 * number)} for number in range(3)]))
    broken: set[str] = set()

    def answer(input: Any) -> str:
        if input["q"] in broken:
            raise ValueError("cannot count that far")
        return str(2 * int(input["q"]))

    async def answer_later(input: Any) -> str:
        return answer(input)

    task = answer_later if asynchronous else answer
    common: dict[str, Any] = {"print_summary": False, "retries": 0}
    experiments = client.experiments
    dry = await plain(experiments.run_experiment(dataset=dataset, task=task, evaluators=[exact], dry_run=1, **common))
    broken.add("2")
    ran = await plain(
        experiments.run_experiment(
            dataset=dataset, task=task, evaluators=[exact], repetitions=2, experiment_name=f"{name} run", experiment_metadata={"kind": "sums"}, **common
        )
    )
    id = ran["experiment_id"]
    counts = ("example_count", "successful_run_count", "failed_run_count", "missing_run_count")

    async def count() -> list[int]:
        record = await plain(experiments.get(experiment_id=id))
        return [record[each] for each in counts]

    shown: dict[str, Any] = {
        "dry": [len(dry["task_runs"]), [each["id"] for each in await plain(experiments.list(dataset_id=dataset.id))] == [id]],
        "id": id,
        "dataset": dataset.id,
        "project": ran["project_name"],
        "ran": [len(ran["task_runs"]), len(ran["evaluation_runs"])],
        "counts": await count(),
    }
    broken.clear()
    await plain(experiments.resume_experiment(experiment_id=id, task=task, evaluators={"exact": exact}, **common))
    shown["resumed"] = await count()
    got = await plain(experiments.get_experiment(experiment_id=id))
    evaluated = await plain(experiments.evaluate_experiment(experiment=got, evaluators={"length": length}, **common))
    shown["evaluated"] = len([each for each in evaluated["evaluation_runs"] if each.name == "length"])
    after = await plain(experiments.get_experiment(experiment_id=id))
    shown["after"] = sorted([each.name, each.result["score"]] for each in after["evaluation_runs"])
    shown["outputs"] = sorted(each["output"] for each in after["task_runs"])
    shown["traced"] = all(each["trace_id"] for each in after["task_runs"])
    made = await plain(experiments.create(dataset_id=dataset.id, experiment_name="made", repetitions=1))
    shown["made"] = made["missing_run_count"]
    await plain(experiments.delete(experiment_id=made["id"], delete_project=True))
    try:
        await plain(experiments.get(experiment_id=made["id"]))
    except ValueError as error:
        shown["gone"] = str(error)
    return shown


with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
    shown = asyncio.run(use({"Client": Client, "AsyncClient": AsyncClient}[given["kind"]](**given["client"]), given["name"]))
print(json.dumps(shown))
