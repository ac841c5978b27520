"""Statistical results over the API of the crucible surface: run over scripted values, stored, listed and read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from infra.runtime.errors import Unavailable
from query_api.freshness import Freshness
from query_api.readers.ledger import LedgerReader
from query_api.readers.telemetry_values import MOST_VALUES
from query_api.readers.windows import WindowReader
from tests.unit.query_api.parts import ScriptedRows
from tests.unit.query_api.stored import Service
from tests.unit.query_api.surfaces.crucible.conftest import Ask

PATH = "/statistical-results"
KEYS = {
    "id", "experiment_id", "test_type", "metric", "groups", "statistic", "degrees_of_freedom", "p_value", "alpha", "alternative", "effect_size",
    "effect_size_type", "confidence_interval", "mean_difference", "mean_difference_interval", "always_valid", "sample_sizes", "means", "std_devs", "unpaired",
    "interpretation", "options", "as_of", "created_at",
}  # fmt: skip


class Telemetry:
    """Values by group as the reader finds them, and every event's groups."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.values: dict[str, list[float]] = {"model_a": list(rng.normal(0.89, 0.05, 100)), "model_b": list(rng.normal(0.82, 0.08, 100))}
        self.groups = {"model_a": 100, "model_b": 100, "silent": 0}
        self.any = True
        self.away = False

    def answer(self, sql: str, params: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if self.away:
            raise Unavailable("ClickHouse cannot be reached; try again", retry_after_s=1)
        if "FROM ledger" in sql:
            return []
        if "SELECT 1" in sql:
            return [{"1": 1}] if self.any else []
        if "numbers" in sql:
            return [{"arm": name, "numbers": count} for name, count in self.groups.items()]
        if "other_alone" in sql:
            first, second = (self.values[name] for name in params["groups"])
            return [{"firsts": first, "seconds": second, "alone": 3, "other_alone": 0, "events": len(first) + len(second)}]
        return [{"arm": name, "values": values} for name, values in self.values.items() if name in params["groups"] and values]


@pytest.fixture
def telemetry() -> Telemetry:
    """What the service finds."""
    return Telemetry()


@pytest.fixture
def service(service: Service, telemetry: Telemetry) -> Service:
    """The service of other tests, over this telemetry."""
    rows = ScriptedRows(telemetry.answer)
    return Service(replace(service.parts, rows=rows, freshness=Freshness(LedgerReader(rows), WindowReader(rows), service.parts.clock)))


def body(**fields: Any) -> dict[str, Any]:
    test = {"experiment_id": "exp_abc123", "test_type": "two_sample_t_test", "groups": ["model_a", "model_b"], "metric": "accuracy"}
    return {"test": {**test, **fields}}


async def made(ask: Ask, **fields: Any) -> dict[str, Any]:
    answer = await ask("POST", PATH, body=body(**fields))
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_run_as_in_the_documentation(ask: Ask, telemetry: Telemetry) -> None:
    """crucible.stats.run, crucible.stats.get, crucible.stats.interpretation"""
    answer = await ask("POST", PATH, body=body(options={"alpha": 0.05, "alternative": "two_sided"}))
    made = answer.json()["data"]
    assert answer.status_code == 201 and "X-Millstream-Watermark" in answer.headers
    assert set(made) == KEYS and made["id"].startswith("stat_") and len(made["id"]) == 21
    assert (made["experiment_id"], made["groups"], made["sample_sizes"], made["effect_size_type"]) == (
        "exp_abc123",
        ["model_a", "model_b"],
        [100, 100],
        "cohens_d",
    )
    assert made["means"] == pytest.approx([np.mean(values) for values in telemetry.values.values()])
    assert made["std_devs"] == pytest.approx([np.std(values, ddof=1) for values in telemetry.values.values()])
    assert made["confidence_interval"][0] < made["effect_size"] < made["confidence_interval"][1] and made["effect_size"] > 0.8
    assert made["interpretation"]["significance"] == "significant" and made["interpretation"]["effect_magnitude"] == "large"
    assert "model_a" in made["interpretation"]["practical_significance"] and "model_b" in made["interpretation"]["practical_significance"]
    assert made["always_valid"]["p_value"] > made["p_value"] and made["always_valid"]["reason"] is None
    assert made["options"] == {"alpha": 0.05, "alternative": "two_sided", "equal_variance": False, "effect_size": "cohens_d", "group_by": "model"}
    telemetry.values["model_a"].append(9.0)
    assert (await ask("GET", f"{PATH}/{made['id']}", "viewer")).json() == {"data": made}
    missing = await ask("GET", f"{PATH}/stat_0")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"


async def test_who_may(ask: Ask, telemetry: Telemetry) -> None:
    """crucible.errors.unauthorized, crucible.errors.forbidden"""
    id = (await made(ask))["id"]
    assert (await ask("POST", PATH, "analyst", body())).status_code == 201
    for key, status in ((None, 401), ("viewer", 403), ("member", 403), ("ingest", 403)):
        assert (await ask("POST", PATH, key, body())).status_code == status
    paths = (PATH, f"{PATH}/{id}", "/experiments/exp_abc123/statistical-results")
    for path in paths:
        assert [(await ask("GET", path, key)).status_code for key in (None, "ingest", "viewer")] == [401, 403, 200]
    assert (await ask("GET", PATH, "other")).json()["data"] == []
    assert (await ask("GET", f"{PATH}/{id}", "other")).status_code == 404


async def test_lists(ask: Ask, telemetry: Telemetry) -> None:
    """crucible.stats.list, crucible.stats.list_by_experiment"""
    wanted = [("exp_1", "two_sample_t_test"), ("exp_2", "mann_whitney_u"), ("exp_1", "one_way_anova"), ("exp_1", "two_sample_t_test")]
    ids = [(await made(ask, experiment_id=experiment, test_type=test))["id"] for experiment, test in wanted]

    async def listed(path: str) -> list[int]:
        answer = await ask("GET", path)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()["meta"]) == {"total", "page", "per_page", "next_cursor", "has_more"}
        return [ids.index(each["id"]) for each in answer.json()["data"]]

    assert await listed(PATH) == [3, 2, 1, 0] and await listed(f"{PATH}?sort=created_at") == [0, 1, 2, 3]
    assert await listed(f"{PATH}?filter[experiment_id]=exp_1") == [3, 2, 0] == await listed("/experiments/exp_1/statistical-results")
    assert await listed(f"{PATH}?filter[test_type]=two_sample_t_test&filter[experiment_id]=exp_1") == [3, 0]
    assert await listed("/experiments/exp_1/statistical-results?filter[test_type]=one_way_anova") == [2]
    assert await listed("/experiments/exp_2/statistical-results?filter[test_type]=one_way_anova") == []
    first = (await ask("GET", f"{PATH}?per_page=3")).json()
    await made(ask)
    behind = (await ask("GET", f"{PATH}?per_page=3&cursor={first['meta']['next_cursor']}")).json()
    assert [each["id"] for each in behind["data"]] == [ids[0]] and not behind["meta"]["has_more"]
    for query in ("filter[test_type]=t_test", "filter[metric]=x", "sort=p_value", "per_page=101", "cursor=abc"):
        answer = await ask("GET", f"{PATH}?{query}")
        assert answer.status_code == 422 and answer.json()["error"]["code"] == "validation_error", query
    assert (await ask("GET", "/experiments/exp_1/statistical-results?filter[experiment_id]=exp_2")).status_code == 422


async def test_an_experiment_that_nobody_knows(ask: Ask, telemetry: Telemetry) -> None:
    """crucible.errors.not_found. Telemetry makes an experiment known, and so does its definition."""
    telemetry.values, telemetry.groups, telemetry.any = {}, {}, False
    nested = "/experiments/exp_abc123/statistical-results"
    for method, path in (("POST", PATH), ("GET", nested)):
        answer = await ask(method, path, body=body() if method == "POST" else None)
        assert answer.status_code == 404 and "exp_abc123" in answer.json()["error"]["message"]
    telemetry.any = True
    assert (await ask("GET", nested)).json()["data"] == []
    telemetry.any = False
    known = (await ask("POST", "/experiments", body={"experiment": {"name": "x"}})).json()["data"]["id"]
    assert (await ask("GET", f"/experiments/{known}/statistical-results")).json()["data"] == []
    answer = await ask("POST", PATH, body=body(experiment_id=known))
    assert answer.status_code == 422 and "options.group_by" in answer.json()["error"]["details"]


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"groups": ["model_a", "model_c"]}, "groups", "there is no group model_c by metadata.model; there are model_a, model_b"),
        ({"groups": ["model_a", "silent"]}, "metric", "no event of group silent has a number in measurements.accuracy"),
        ({"groups": ["model_a"]}, "groups", "at least 2"),
        ({"groups": ["model_a", "model_a"]}, "groups", "twice"),
        ({"groups": ["model_a", "model_b", "silent"]}, "groups", "one_way_anova"),
        ({"groups": "model_a"}, "groups", "list"),
        ({"groups": ["one", "model_b"]}, "groups", "group one has 1 value; at least 2 are needed"),
        ({"groups": ["flat", "flat too"]}, "groups", "no spread"),
        ({"test_type": "two_proportion_z_test"}, "groups", "other than 0 and 1"),
        ({"test_type": "t_test"}, "test_type", "two_sample_t_test"),
        ({"test_type": "paired_t_test"}, "options.pair_by", "needs the field"),
        ({"test_type": "mann_whitney_u", "options": {"equal_variance": True}}, "options.equal_variance", "is for two_sample_t_test"),
        ({"test_type": "one_way_anova", "options": {"effect_size": "hedges_g"}}, "options.effect_size", "is for"),
        ({"test_type": "one_way_anova", "options": {"alternative": "less"}}, "options.alternative", "no direction"),
        ({"options": {"pair_by": "question"}}, "options.pair_by", "is for paired_t_test"),
        ({"options": {"alpha": 0}}, "options.alpha", "greater"),
        ({"options": {"alpha": 1}}, "options.alpha", "less"),
        ({"options": {"alternative": "two-sided"}}, "options.alternative", "two_sided"),
        ({"options": {"after": "yesterday"}}, "options.after", ""),
        ({"options": {"aplha": 0.05}}, "options.aplha", ""),
        ({"metric": ""}, "metric", "blank"),
        ({"experiment_id": "x" * 65}, "experiment_id", "64"),
    ],
)
async def test_a_wrong_test_is_explained_and_not_stored(ask: Ask, telemetry: Telemetry, fields: dict[str, Any], field: str, says: str) -> None:
    """crucible.errors.validation_error, crucible.stats.run"""
    telemetry.values |= {"one": [1.0], "flat": [1.0, 1.0], "flat too": [2.0, 2.0]}
    answer = await ask("POST", PATH, body=body(**fields))
    error = answer.json()["error"]
    assert answer.status_code == 422 and error["code"] == "validation_error"
    assert list(error["details"]) == [field] and says in " ".join(error["details"][field]), error
    assert (await ask("GET", PATH)).json()["meta"]["total"] == 0


async def test_pairs(ask: Ask, telemetry: Telemetry) -> None:
    found = await made(ask, test_type="paired_t_test", options={"pair_by": "question", "effect_size": "hedges_g", "alternative": "greater"})
    assert found["sample_sizes"] == [100, 100] and found["unpaired"] == [3, 0] and found["degrees_of_freedom"] == 99
    assert found["effect_size_type"] == "hedges_g" and found["always_valid"]["p_value"] < 0.05
    telemetry.values = {"model_a": [], "model_b": []}
    answer = await ask("POST", PATH, body=body(test_type="paired_t_test", options={"pair_by": "q"}))
    assert answer.status_code == 422 and "have the same metadata.q" in answer.json()["error"]["details"]["options.pair_by"][0]


async def test_more_values_than_a_test_takes(ask: Ask, telemetry: Telemetry) -> None:
    telemetry.values["model_a"] = [0.0] * (MOST_VALUES - 99)
    answer = await ask("POST", PATH, body=body())
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "query_limit" and "options.after" in answer.json()["error"]["message"]
    telemetry.values["model_a"].pop()
    assert (await made(ask))["sample_sizes"] == [MOST_VALUES - 100, 100]


async def test_without_clickhouse_results_are_still_read(ask: Ask, telemetry: Telemetry) -> None:
    id = (await made(ask))["id"]
    telemetry.away = True
    assert (await ask("GET", f"{PATH}/{id}")).json()["data"]["id"] == id
    assert [each["id"] for each in (await ask("GET", "/experiments/exp_abc123/statistical-results")).json()["data"]] == [id]
    assert (await ask("POST", PATH, body=body())).status_code == 503


async def test_it_is_in_the_audit_log(ask: Ask, service: Service, telemetry: Telemetry) -> None:
    id = (await made(ask))["id"]
    lines = (await service.ask("GET", "/audit-log")).json()
    assert [id, "statistical_result.created"] == [lines["data"][0][name] for name in ("subject_id", "action")]
