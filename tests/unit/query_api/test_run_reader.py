"""Reads of many runs at once, and of checkpoints that were stored before anybody looked at what they measured."""

from collections.abc import Mapping
from typing import Any

from query_api.readers.runs import RunReader
from tests.unit.query_api.parts import ScriptedRows

_STATE = {"of_experiment": "", "began_us": 1, "said": "", "started_us": 0, "ended_us": 0, "done": None, "last_step": None, "last_epoch": None, "named": []}


def _states(sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "FROM run_metrics" in sql:
        # One of them began after the states were read.
        return [{"run_id": id, "name": "loss", "value": 1, "most": 2} for id in (*params["runs"], "later")]
    return [{"run_id": id, **_STATE} for id in params["runs"]]


async def test_no_statement_names_more_ids_than_a_parameter_holds() -> None:
    rows = ScriptedRows(_states)
    ids = [f"{number} {'ä' * 500}" for number in range(300)]
    found = await RunReader(rows).runs("t", ids)
    assert list(found) == ids and all(run.metrics == {"loss": 1.0} for run in found.values())
    assert max(sum(len(id.encode()) for id in params["runs"]) for _, params in rows.asked) < 32_000
    rows.asked.clear()
    await RunReader(rows).runs("t", [str(number) for number in range(1_000)])
    assert len(rows.asked) == 2


async def test_what_a_checkpoint_measured_beyond_a_double_is_left_out() -> None:
    def answer(sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        row = {"run_id": "r", "at_us": 1, "step": None, "epoch": None, "metadata": '{"path": "a.pt"}'}
        measured = ('{"loss": 0.5, "huge": ' + "9" * 400 + ', "inf": 1e999}', '{"loss": ' + "9" * 5_000 + "}")
        return [{**row, "event_id": str(number), "measurements": each} for number, each in enumerate(measured)]

    found = (await RunReader(ScriptedRows(answer)).checkpoints("t", ["r"]))["r"]
    assert [(each.id, each.metrics) for each in found] == [("0", {"loss": 0.5}), ("1", {})]
