"""Classifies the documents of a benchmark by their relevance to a question with llm_classify and compares the labels with the golden ones.

Prints the rails, the classified rows, the measures of the labels by class, and what is said of a dataset that is not there.
"""

import json
import sys

from phoenix.evals import RAG_RELEVANCY_PROMPT_RAILS_MAP, RAG_RELEVANCY_PROMPT_TEMPLATE, OpenAIModel, download_benchmark_dataset, llm_classify


def refusal(task, dataset_name):
    try:
        download_benchmark_dataset(task=task, dataset_name=dataset_name)
    except ValueError as error:
        return str(error)


given = json.load(sys.stdin)
df = download_benchmark_dataset(task=given["task"], dataset_name=given["dataset"])
df = df.sample(given["sample"])
df = df.rename(columns={"query_text": "input", "document_text": "reference"})
model = OpenAIModel(model="gpt-4", temperature=0.0, base_url=given["openai"])
rails = list(RAG_RELEVANCY_PROMPT_RAILS_MAP.values())
# The frame of this version has other columns beside the label.
df[["eval_relevance"]] = llm_classify(df, model, RAG_RELEVANCY_PROMPT_TEMPLATE, rails)[["label"]]
y_true = df["relevant"].map({True: "relevant", False: "irrelevant"})
y_pred = df["eval_relevance"]
hits = y_true == y_pred
measures = {"precision": hits.groupby(y_pred).mean(), "recall": hits.groupby(y_true).mean(), "support": y_true.value_counts()}
found = {
    "rails": rails,
    "rows": df.to_dict("records"),
    "measures": {name: by_class.to_dict() for name, by_class in measures.items()},
    "refusal": refusal(given["task"], "no-such-dataset"),
}
print(json.dumps(found))
