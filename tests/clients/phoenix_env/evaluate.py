"""Evaluates rows with a classifier that asks a model and with one in code, traced; prints the scores."""

import json
import sys

import pandas as pd
from phoenix.evals import LLM, create_classifier, create_evaluator, evaluate_dataframe
from phoenix.otel import register

given = json.load(sys.stdin)
provider = register(endpoint=given["endpoint"], project_name=given["project"], batch=True, verbose=False)


@create_evaluator(name="short", kind="code")
def short(output: str) -> bool:
    return len(output) < 10


model = LLM(provider="openai", model="gpt-4o", base_url=given["openai"], api_key="none")
relevance = create_classifier(name="relevance", llm=model, prompt_template="Is {output} about {input}?", choices={"relevant": 1.0, "irrelevant": 0.0})
scored = evaluate_dataframe(pd.DataFrame(given["rows"]), [relevance, short])
scores = {name: [json.loads(score) if isinstance(score, str) else score for score in scored[f"{name}_score"]] for name in ("relevance", "short")}
provider.force_flush()
print(json.dumps({name: [{key: score.get(key) for key in ("label", "score")} for score in each] for name, each in scores.items()}))
