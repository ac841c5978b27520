"""Spans as an LLM application sends them, about 2 KB each: agent runs of five spans with messages, documents, tokens, users and sessions.

The texts are made once; ids, sessions and times are written into the serialised requests, so that a load generator costs next to nothing.
"""

import json
import os
import random
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

PROJECT: Final = "bench"
SPANS_OF_TRACE: Final = 5
SPANS: Final = 500
"""Spans of one request, about what the batch processor of the SDK sends."""
TRACES: Final = SPANS // SPANS_OF_TRACE
TRACES_OF_SESSION: Final = 8
MODELS: Final = (("openai", "gpt-4o-mini"), ("openai", "gpt-4.1"), ("anthropic", "claude-sonnet-4"))
TOPICS: Final = ("billing", "shipping", "returns", "account", "warranty")
USERS: Final = 500
"""Each has as many traces as any other."""
_WORDS: Final = 3_000

_PARENTS: Final = (None, 0, 0, 0, 0)
_NS: Final = 1_000_000
_STARTS: Final = (0, 20 * _NS, 130 * _NS, 900 * _NS, 1_100 * _NS)
_LENGTHS: Final = (2_400 * _NS, 100 * _NS, 760 * _NS, 180 * _NS, 1_280 * _NS)
"""When each span of a trace begins after its root, and how long it takes."""
_TIMES: Final = np.array([instant for start, length in zip(_STARTS, _LENGTHS, strict=True) for instant in (start, start + length)], np.int64)


@dataclass(frozen=True)
class _Places:
    """Where one kind of varying value stands in a request, and which of the values stands there."""

    offsets: npt.NDArray[np.int64]
    which: npt.NDArray[np.int64]

    @classmethod
    def of(cls, found: list[tuple[int, int]], length: int) -> Self:
        """Pairs of offset and number, values of so many bytes."""
        pairs = np.array(found, np.int64)
        return cls(pairs[:, :1] + np.arange(length), pairs[:, 1])

    def write(self, body: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8]) -> None:
        """Put row `which` of the values at each place."""
        body[self.offsets] = values[self.which]


@dataclass(frozen=True)
class _Template:
    """A request and its varying parts. Spans and times are numbered over the whole request, two times a span."""

    body: npt.NDArray[np.uint8]
    traces: _Places
    spans: _Places
    times: _Places
    sessions: _Places


class Requests:
    """Export requests of 500 spans in 100 traces. `templates` different texts of a request repeat; ids never do."""

    def __init__(self, templates: int = 20, *, seed: int = 11, prompt_versions: bool = True) -> None:
        self._rnd = random.Random(seed)
        self._words = ["".join(self._rnd.choices("etaoinshrdlucmfwypvbgk", k=self._rnd.randint(2, 11))) for _ in range(_WORDS)]
        self._weights = [1 / (rank + 3) for rank in range(_WORDS)]
        self._prompt_versions = prompt_versions
        self._templates = [self._template(number) for number in range(templates)]
        self._made = 0
        self._first_session = self._rnd.getrandbits(64) << 32

    @property
    def bytes_per_span(self) -> float:
        """Of the serialised requests."""
        return sum(template.body.size for template in self._templates) / len(self._templates) / SPANS

    @property
    def traces(self) -> int:
        """How many traces were handed out."""
        return self._made * TRACES

    def body(self, start_ns: int, step_ns: int = 1_000) -> bytes:
        """The next request; its traces begin one step after the other."""
        template = self._templates[self._made % len(self._templates)]
        body = template.body.copy()
        ids = np.frombuffer(os.urandom(TRACES * 16 + SPANS * 8), np.uint8)
        template.traces.write(body, ids[: TRACES * 16].reshape(TRACES, 16))
        template.spans.write(body, ids[TRACES * 16 :].reshape(SPANS, 8))
        times = (start_ns + np.arange(TRACES)[:, None] * step_ns + _TIMES).astype("<u8")
        template.times.write(body, times.view(np.uint8).reshape(SPANS * 2, 8))
        numbers = (self._first_session + (self._made * TRACES + trace) // TRACES_OF_SESSION for trace in range(TRACES))
        sessions = np.frombuffer(b"".join(b"%032x" % number for number in numbers), np.uint8)
        template.sessions.write(body, sessions.reshape(TRACES, 32))
        self._made += 1
        return body.tobytes()

    def _text(self, length: int) -> str:
        return " ".join(self._rnd.choices(self._words, self._weights, k=length // 6 + 1))[:length]

    def _template(self, number: int) -> _Template:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "support-agent"
        resource.resource.attributes.add(key="openinference.project.name").value.string_value = PROJECT
        scope = resource.scope_spans.add()
        scope.scope.name = "openinference.instrumentation.openai"
        marks = [_Marks(self._rnd) for _ in range(TRACES)]
        for place, trace in enumerate(marks):
            self._trace(scope, trace, number * TRACES + place)
        body = request.SerializeToString()
        starts = [body.find(trace.trace) for trace in marks]
        reaches = list(zip(starts, [*starts[1:], len(body)], strict=True))

        def places(values: list[list[bytes]]) -> _Places:
            per_trace = len(values[0])
            found = [
                (offset, number * per_trace + index)
                for number, (reach, wanted) in enumerate(zip(reaches, values, strict=True))
                for index, value in enumerate(wanted)
                for offset in _all(body, value, *reach)
            ]
            return _Places.of(found, len(values[0][0]))

        return _Template(
            np.frombuffer(body, np.uint8),
            places([[trace.trace] for trace in marks]),
            places([trace.spans for trace in marks]),
            places([[time.to_bytes(8, "little") for times in trace.times for time in times] for trace in marks]),
            places([[trace.session] for trace in marks]),
        )

    def _trace(self, scope: ScopeSpans, marks: "_Marks", number: int) -> None:
        rnd = self._rnd
        provider, model = rnd.choice(MODELS)
        question, answer, topic = self._text(220), self._text(500), rnd.choice(TOPICS)
        documents = [self._text(420) for _ in range(4)]
        common: dict[str, str | int | float] = {
            "session.id": marks.session.decode(),
            "user.id": f"user-{number % USERS}",
            "metadata": json.dumps({"tier": rnd.choice(("free", "pro")), "topic": topic, "region": "eu"}),
        }
        tool = {"order_id": f"{rnd.randrange(10**8):08d}", "topic": topic}
        spans: tuple[tuple[str, str, dict[str, str | int | float]], ...] = (
            ("agent.run", "AGENT", {"input.value": question, "output.value": answer, "app.topic": topic}),
            ("retrieve", "RETRIEVER", _documents(documents, rnd) | {"input.value": question}),
            ("chat", "LLM", self._call(provider, model, question, documents[0], self._text(300))),
            ("lookup_order", "TOOL", {"tool.name": "lookup_order", "tool.parameters": json.dumps(tool), "input.value": json.dumps(tool), "output.value": self._text(180)}),
            ("chat", "LLM", self._call(provider, model, question, documents[1], answer)),
        )  # fmt: skip
        for place, (name, kind, attributes) in enumerate(spans):
            span = scope.spans.add(trace_id=marks.trace, span_id=marks.spans[place], name=name, kind=1)
            parent = _PARENTS[place]
            if parent is not None:
                span.parent_span_id = marks.spans[parent]
            span.start_time_unix_nano, span.end_time_unix_nano = marks.times[place]
            span.status.code = 2 if kind == "TOOL" and rnd.random() < 0.02 else 1  # type: ignore[assignment]
            for key, value in {"openinference.span.kind": kind, **common, **attributes}.items():
                target = span.attributes.add(key=key).value
                if isinstance(value, str):
                    target.string_value = value
                elif isinstance(value, int):
                    target.int_value = value
                else:
                    target.double_value = value

    def _call(self, provider: str, model: str, question: str, context: str, answer: str) -> dict[str, str | int | float]:
        prompt, completion = self._rnd.randint(300, 3_000), self._rnd.randint(20, 400)
        system = "You are a support agent. Answer from the context only. " + context
        version: dict[str, str | int | float] = {"llm.prompt_template.version": f"v{self._rnd.randint(1, 3)}"} if self._prompt_versions else {}
        return version | {
            "llm.provider": provider, "llm.model_name": model, "llm.invocation_parameters": json.dumps({"model": model, "temperature": 0.2, "max_tokens": 600}),
            "llm.token_count.prompt": prompt, "llm.token_count.completion": completion, "llm.token_count.total": prompt + completion,
            "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": system,
            "llm.input_messages.1.message.role": "user", "llm.input_messages.1.message.content": question,
            "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": answer,
            "input.value": json.dumps([{"role": "system", "content": system}, {"role": "user", "content": question}]), "input.mime_type": "application/json",
            "output.value": answer,
        }  # fmt: skip


def _documents(texts: list[str], rnd: random.Random) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {}
    for place, text in enumerate(texts):
        at = f"retrieval.documents.{place}.document"
        found |= {f"{at}.id": f"doc-{rnd.randrange(5_000)}", f"{at}.content": text, f"{at}.score": round(0.95 - place * 0.1 - rnd.random() * 0.05, 6)}
    return found


class _Marks:
    """Values that stand nowhere else in a request, put where the varying parts go, so that they can be found."""

    def __init__(self, rnd: random.Random) -> None:
        self.trace = rnd.randbytes(16)
        self.spans = [rnd.randbytes(8) for _ in range(SPANS_OF_TRACE)]
        self.times = [(rnd.getrandbits(63), rnd.getrandbits(63)) for _ in range(SPANS_OF_TRACE)]
        self.session = b"%032x" % rnd.getrandbits(128)


def _all(body: bytes, wanted: bytes, start: int, end: int) -> list[int]:
    found, place = [], body.find(wanted, start, end)
    while place >= 0:
        found.append(place)
        place = body.find(wanted, place + 1, end)
    return found
