"""Evaluates rows with evaluators of code and writes the scores back as annotations."""

import json
import sys
import time

import pandas as pd
from phoenix.client import Client
from phoenix.evals import create_evaluator, evaluate_dataframe
from phoenix.evals.utils import to_annotation_dataframe

given = json.load(sys.stdin)
client = Client(**given["client"])


@create_evaluator(name="polite")
def polite(output: str) -> bool:
    return "please" in output


@create_evaluator(name="words")
def words(output: str) -> dict:
    count = len(output.split())
    return {"score": count / 10, "label": "long" if count > 3 else "short", "explanation": f"{count} words"}


rows = pd.DataFrame({"context.span_id": given["span_ids"], "output": given["outputs"]}).set_index("context.span_id")
scored = evaluate_dataframe(dataframe=rows, evaluators=[polite, words], hide_tqdm_bar=True)
client.spans.log_span_annotations_dataframe(dataframe=to_annotation_dataframe(dataframe=scored))

deadline = time.monotonic() + 20
found = []
while len(found) < 2 * len(rows) and time.monotonic() < deadline:
    found = client.spans.get_span_annotations(span_ids=given["span_ids"], project_identifier=given["project"])
    time.sleep(0.05)
shown = [[each["span_id"], each["name"], each["annotator_kind"], each["result"], each["metadata"]] for each in found]
print(json.dumps(sorted(shown, key=lambda each: each[:2])))
