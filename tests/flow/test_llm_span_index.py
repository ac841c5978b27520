"""The filters of span lists are answered with the help of the indices, not by reading everything."""

import base64

import pytest

from query_api.readers.attribute_condition import AttributeIs
from query_api.readers.conditions import Conditions
from query_api.readers.span_list_filter import SpanFilter
from query_api.readers.trace_ids import OF_TRACES, TRACES_OF
from tests.flow.stack import LiveStack

VISIBLE = Conditions(["tenant = {tenant:String}", "project = {project:String}"], {"tenant": "of-no-other-test", "project": "p"})


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        (SpanFilter(trace_ids=["ab" * 16]), {"trace_areas", "trace_ids"}),
        (SpanFilter(span_ids=["ab" * 8]), {"span_ids"}),
        (SpanFilter(attributes=[AttributeIs("user.id", "u-1")]), {"attribute_pairs"}),
        (SpanFilter(attributes=[AttributeIs("llm.model_name", "m")]), {"attribute_pairs"}),
        (SpanFilter(attributes=[AttributeIs("metadata.tier", 3)]), {"attribute_pairs"}),
        (SpanFilter(attributes=[AttributeIs("metadata.deep.er", "x")]), set()),
    ],
)
@pytest.mark.parametrize("roughly", [False, True])
async def test_an_index_is_asked(live: LiveStack, wanted: SpanFilter, indices: set[str], roughly: bool) -> None:
    within = wanted.applied(VISIBLE, roughly=roughly)
    clickhouse = live.clickhouse()
    try:
        # Encoded, because the plan shows the bytes of constants. Of a table without rows it would show no index.
        explained = f"SELECT base64Encode(explain) AS line FROM (EXPLAIN indexes = 1 SELECT trace_id FROM spans WHERE {within.where})"
        await clickhouse.command("INSERT INTO spans (tenant, project, trace_id, span_id, start_time) VALUES ('of-no-other-test', 'p', 'aa', 'bb', now64(9))")
        plan = b"\n".join(base64.b64decode(row["line"]) for row in await clickhouse.query(explained, within.params))
    finally:
        await clickhouse.aclose()
    assert {name for name in ("trace_areas", "trace_ids", "span_ids", "attribute_pairs") if f"Name: {name}".encode() in plan} == indices


@pytest.mark.parametrize("lookup", [OF_TRACES, TRACES_OF.format(where="tenant = {tenant:String} AND session_id IN ['none of these']")])
async def test_trace_ids_are_asked_of_the_filters_and_only_the_tenant_of_the_order(live: LiveStack, lookup: str) -> None:
    clickhouse = live.clickhouse()
    try:
        explained = f"SELECT base64Encode(explain) AS line FROM (EXPLAIN indexes = 1 SELECT count() FROM spans WHERE tenant = {{tenant:String}} AND {lookup})"
        await clickhouse.command("INSERT INTO spans (tenant, project, trace_id, span_id, start_time) VALUES ('of-no-other-test', 'p', 'aa', 'bb', now64(9))")
        params = {"tenant": "of-no-other-test", "traces": ["ab" * 16]}
        plan = b"\n".join(base64.b64decode(row["line"]) for row in await clickhouse.query(explained, params)).decode()
    finally:
        await clickhouse.aclose()
    order = plan.partition("PrimaryKey")[2].partition("Name:")[0]
    assert "tenant in" in order and "trace_id" not in order
    assert {"Name: trace_areas", "Name: trace_ids"} <= {line.strip() for line in plan.splitlines()}
