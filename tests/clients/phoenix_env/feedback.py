"""Records feedback inside a span with OpenInference's own helpers and, as a span of its own with a link, feedback that comes later; prints the ids."""

import json
import sys

from openinference.instrumentation import Annotation, get_annotation_attributes, get_evaluation_attributes
from opentelemetry.trace import Link
from phoenix.otel import register

given = json.load(sys.stdin)
provider = register(endpoint=given["url"] + "/v1/traces", api_key=given["client"]["api_key"], project_name=given["project"], batch=True, verbose=False)
tracer = provider.get_tracer("feedback")
with tracer.start_as_current_span("answer") as span:
    own = [Annotation(name="tone", label="kind", annotator_kind="LLM", identifier="judge", metadata={"rubric": 2})]
    span.set_attributes(get_annotation_attributes(annotations=own))
    span.set_attributes(get_evaluation_attributes(evaluations=[Annotation(name="whole", score=0.5)], scope="trace"))
context = span.get_span_context()
with tracer.start_as_current_span("verdict", links=[Link(context)]) as carrier:
    carrier.set_attributes(get_evaluation_attributes(evaluations=[Annotation(name="verdict", score=1, explanation="holds")]))
provider.force_flush()
print(json.dumps({"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}))
