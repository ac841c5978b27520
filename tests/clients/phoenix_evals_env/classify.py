"""Classifies documents by their relevance to a question with llm_classify; prints a label for each."""

import json
import sys

import pandas as pd
from phoenix.evals import RAG_RELEVANCY_PROMPT_RAILS_MAP, RAG_RELEVANCY_PROMPT_TEMPLATE, OpenAIModel, download_benchmark_dataset, llm_classify

given = json.load(sys.stdin)
assert callable(download_benchmark_dataset)
model = OpenAIModel(model="gpt-4", temperature=0.0, base_url=given["openai"])
frame = pd.DataFrame(given["rows"])
rails = list(RAG_RELEVANCY_PROMPT_RAILS_MAP.values())
frame[["eval_relevance"]] = llm_classify(frame, model, RAG_RELEVANCY_PROMPT_TEMPLATE, rails, progress_bar_format=None, concurrency=2)[["label"]]
print(json.dumps({"rails": rails, "labels": list(frame["eval_relevance"])}))
