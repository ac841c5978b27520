"""The filter of an evaluation rule: a condition of the filter language of spans, ready to be asked of spans as they arrive."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from schemas.evaluators.span import STATUS_CODES, EvaluatedSpan
from schemas.span_filter.evaluate import Facts, matches
from schemas.span_filter.parser import parse
from schemas.span_filter.tree import Annotated, Field, HasParent, Result


@lru_cache(maxsize=1_024)
def compiled_filter(text: str) -> Callable[[EvaluatedSpan], bool]:
    """The filter as a function; an empty one holds for every span.

    Raises ValueError with the position for one that cannot be understood, and for one that asks what is not known when a span arrives.
    """
    if not text.strip():
        return lambda _: True
    condition = parse(text)
    _check(condition)
    return lambda span: matches(condition, _facts(span))


def _facts(span: EvaluatedSpan) -> Facts:
    return Facts(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id or None,
        name=span.name,
        span_kind=span.span_kind,
        status_code=STATUS_CODES.index(span.status_code),
        status_message=span.status_message,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        attributes=span.attributes,
    )


def _check(node: Any) -> None:
    match node:
        case Result() | Annotated():
            raise ValueError("annotations are not known yet when a span arrives; a rule cannot ask for them")
        case HasParent():
            raise ValueError("whether the parent is stored is not known yet when a span arrives; ask for `parent_id is None`, or let the rule judge roots only")
        case Field(name=name) if name.startswith("cumulative_"):
            raise ValueError("the tokens below a span are not known yet when it arrives; ask for its own, such as llm.token_count.total")
        case tuple():
            for part in node:
                _check(part)
        case _ if hasattr(node, "__dataclass_fields__"):
            for name in node.__dataclass_fields__:
                _check(getattr(node, name))
