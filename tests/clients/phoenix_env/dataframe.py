"""Spans as a DataFrame through the Python client: everything, filtered, selected, exploded, joined, within times, by name and id of a project."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pandas as pd
from phoenix.client import AsyncClient, Client
from phoenix.client.types.spans import SpanQuery

given = json.load(sys.stdin)
client = Client(**given["client"])
project = given["project"]


def frame(query=None, **more):
    return client.spans.get_spans_dataframe(query=query, project_identifier=project, **more)


whole = frame()
start = whole["start_time"].min()
shown = {
    "rows": [len(whole), whole.index.name, whole["name"].tolist()],
    "types": {name: str(whole[name].dtype) for name in ("start_time", "attributes.llm.token_count.prompt", "attributes.share")},
    "zone": str(whole["start_time"].dt.tz),
    "messages": whole["attributes.llm.input_messages"].dropna().tolist(),
    "documents": whole["attributes.retrieval.documents"].dropna().tolist(),
    "metadata": whole["attributes.metadata"].dropna().tolist(),
    "parents": whole["parent_id"].notna().tolist(),
    "where": frame(SpanQuery().where("span_kind == 'llm' and 'weather' in input.value and latency_ms > 100"))["name"].tolist(),
    "metadata_where": frame(SpanQuery().where("metadata['tier'] == 'gold'").select("name"))["name"].tolist(),
    "tokens": frame(SpanQuery().where("cumulative_token_count.total >= 12").select("name"))["name"].tolist(),
    "roots": [frame(SpanQuery().where(root).select("name"))["name"].tolist() for root in ("parent_span is None", "parent_id is None")],
    "roots_only": frame(root_spans_only=True)["name"].tolist(),
    "limit": frame(limit=1)["name"].tolist(),
    "times": frame(start_time=start.to_pydatetime(), end_time=start.to_pydatetime() + timedelta(seconds=1))["name"].tolist(),
    "future": len(frame(start_time=datetime.now(UTC) + timedelta(hours=1))),
    "by_id": len(client.spans.get_spans_dataframe(project_identifier=given["project_id"])),
    "by_name": len(client.spans.get_spans_dataframe(project_name=project, query=SpanQuery().select("name"))),
    "unknown": len(client.spans.get_spans_dataframe(project_identifier="no such project")),
    "evals": frame(SpanQuery().where("evals['quality'].label == 'good' and annotations['quality'].score > 0.5").select("name"))["name"].tolist(),
}
selected = frame(SpanQuery().select("name", "span_id", "trace_id", "llm.model_name", "latency_ms", "gone").rename(name="title"))
shown["selected"] = [selected.index.name, sorted(selected.columns), selected["title"].tolist(), selected["llm.model_name"].dropna().tolist()]
indexed = frame(SpanQuery().select("name").with_index("trace_id"))
shown["indexed"] = [indexed.index.name, indexed.index.unique().tolist()]
exploded = frame(SpanQuery().explode("retrieval.documents", content="document.content", score="document.score"))
shown["exploded"] = [exploded.index.names, exploded.reset_index()[["document_position", "content", "score"]].values.tolist()]
shown["bare"] = sorted(frame(SpanQuery().select("name").explode("retrieval.documents")).columns)
shown["joined"] = frame(SpanQuery().select("input.value").concat("retrieval.documents", reference="document.content"))["reference"].tolist()
merged = pd.concat([frame(SpanQuery().select("input.value")), exploded.groupby("context.span_id")["score"].max()], axis=1)
shown["merged"] = merged["score"].dropna().tolist()
try:
    shown["refused"] = str(frame(SpanQuery().where("span_knd == 'LLM'")))
except httpx.HTTPStatusError as error:
    shown["refused"] = [error.response.status_code, error.response.text]


async def again():
    return await AsyncClient(**given["client"]).spans.get_spans_dataframe(project_identifier=project, query=SpanQuery().where("name == 'call'"))


shown["async"] = asyncio.run(again())["name"].tolist()
print(json.dumps(shown))
