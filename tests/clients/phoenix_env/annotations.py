"""Writes and reads annotations in every way the client has, and prints what it got."""

import asyncio
import json
import sys
import time

import httpx
import pandas as pd
from phoenix.client import AsyncClient, Client

given = json.load(sys.stdin)
client = Client(**given["client"])
first, second = given["span_ids"]
trace_id, session_id, project = given["trace_id"], given["session_id"], given["project"]
shown = {}


def frame(**columns):
    return pd.DataFrame(columns)


def status(call):
    try:
        call()
    except httpx.HTTPStatusError as error:
        return [error.response.status_code, error.response.text]


spans = client.spans
shown["one"] = spans.add_span_annotation(
    span_id=first, annotation_name="one", annotator_kind="HUMAN", label="good", score=1, explanation=" why ", metadata={"a": 1}, identifier="me", sync=True
)
shown["none"] = spans.add_span_annotation(span_id=first, annotation_name="later", label="x")
several = [{"name": "several", "span_id": each, "annotator_kind": "CODE", "result": {"score": 0.5}} for each in (first, second)]
shown["several"] = spans.log_span_annotations(span_annotations=several, sync=True)
columns = frame(name=["framed", "framed"], span_id=[first, second], annotator_kind=["LLM", "HUMAN"], label=["a", "b"], score=[0.0, 2.0])
shown["framed"] = spans.log_span_annotations_dataframe(dataframe=columns, sync=True)
indexed = pd.DataFrame({"label": ["i", "j"]}, index=pd.Index([first, second], name="context.span_id"))
shown["indexed"] = spans.log_span_annotations_dataframe(dataframe=indexed, annotation_name="indexed", annotator_kind="CODE", sync=True)
shown["note"] = spans.add_span_note(span_id=first, note=" seen ")
shown["missing"] = status(lambda: spans.add_span_annotation(span_id="f" * 16, annotation_name="x", label="y", sync=True))
shown["missing_note"] = status(lambda: spans.add_span_note(span_id="f" * 16, note="x"))

shown["document"] = spans.add_document_annotation(span_id=first, document_position=1, annotation_name="relevance", annotator_kind="LLM", score=0.7, sync=True)
documents = [{"name": "relevance", "span_id": first, "document_position": 0, "annotator_kind": "LLM", "result": {"label": "fits"}}]
shown["documents"] = spans.log_document_annotations(document_annotations=documents, sync=True)
columns = frame(span_id=[first, first], document_position=[0, 1], label=["u", "v"])
shown["document_frame"] = spans.log_document_annotations_dataframe(dataframe=columns, annotation_name="use", annotator_kind="CODE", sync=True)

shown["session"] = client.sessions.add_session_annotation(session_id=session_id, annotation_name="mood", annotator_kind="LLM", label="calm", sync=True)
columns = frame(session_id=[session_id], score=[3.0], annotation_name=["stars"], annotator_kind=["HUMAN"])
shown["session_frame"] = client.sessions.log_session_annotations_dataframe(dataframe=columns, sync=True)
shown["trace"] = client.traces.add_trace_annotation(trace_id=trace_id, annotation_name="whole", annotator_kind="CODE", score=9, sync=True)
columns = frame(trace_id=[trace_id], label=["short"])
shown["trace_frame"] = client.traces.log_trace_annotations_dataframe(dataframe=columns, annotation_name="length", annotator_kind="CODE", sync=True)

deadline = time.monotonic() + 20
while True:
    found = spans.get_span_annotations(span_ids=[first, second], project_identifier=project)
    if any(each["name"] == "later" for each in found) or time.monotonic() > deadline:
        break
    time.sleep(0.05)
shown["listed"] = sorted([each["span_id"], each["name"], each["id"], each["result"]] for each in found)
paged = spans.get_span_annotations(spans=[{"context": {"span_id": first}}], project_identifier=project, limit=2)
shown["paged"] = sorted(each["name"] for each in paged)
shown["with_notes"] = sorted(each["name"] for each in spans.get_span_annotations(span_ids=[first], project_identifier=project, exclude_annotation_names=[]))
only = spans.get_span_annotations_dataframe(span_ids=[first, second], project_identifier=project, include_annotation_names=["framed", "one"])
shown["frame"] = {"index": sorted(only.index), "columns": sorted(only.columns), "labels": sorted(map(str, only["result.label"]))}
shown["unknown"] = status(lambda: spans.get_span_annotations(span_ids=["f" * 16], project_identifier=project))


async def side_by_side():
    client = AsyncClient(**given["client"])
    await client.spans.add_span_annotation(span_id=second, annotation_name="async", label="x", sync=True)
    found = await client.spans.get_span_annotations_dataframe(span_ids=[second], project_identifier=project, include_annotation_names=["async"])
    return found["annotation_name"].tolist()


shown["async"] = asyncio.run(side_by_side())
print(json.dumps(shown))
