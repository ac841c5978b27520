"""Which spans a list shows: a filter as conditions over the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from query_api.readers.attribute_condition import AttributeIs, attribute_condition
from query_api.readers.conditions import Conditions
from query_api.readers.span_times import before, since

_CONDITIONS: Final = {
    "trace_ids": "trace_id IN {trace_ids:Array(String)}",
    "span_ids": "span_id IN {span_ids:Array(String)}",
    "names": "name IN {names:Array(String)}",
    "span_kinds": "if(span_kind = '', 'UNKNOWN', upper(span_kind)) IN {span_kinds:Array(String)}",
    "status_codes": "status_code IN {status_codes:Array(Int32)}",
    "parent_id": "parent_id = {parent_id:String}",
    "start_ns": since("start_ns"),
    "end_ns": before("end_ns"),
}
_WORD: Final = (
    "(positionCaseInsensitive(name, {{{word}:String}}) > 0 OR arrayExists(v -> positionCaseInsensitive(v, {{{word}:String}}) > 0, mapValues(attributes)))"
)


@dataclass(frozen=True)
class SpanFilter:
    """Which spans of a project; None leaves a field open."""

    trace_ids: Sequence[str] | None = None
    span_ids: Sequence[str] | None = None
    names: Sequence[str] | None = None
    span_kinds: Sequence[str] | None = None
    """In capitals; UNKNOWN stands for none."""
    status_codes: Sequence[int] | None = None
    parent_id: str | None = None
    """Empty: roots only."""
    start_ns: int | None = None
    """Spans that began at or after this."""
    end_ns: int | None = None
    """Spans that began before this."""
    attributes: Sequence[AttributeIs] = ()
    """All of them."""
    words: Sequence[str] = ()
    """All of them, each in the name or in the text of an attribute, in any case of ASCII letters."""

    @property
    def of_ids(self) -> bool:
        """Whether it names what it asks for."""
        return self.trace_ids is not None or self.span_ids is not None

    @property
    def seeks(self) -> bool:
        """Whether it may leave most spans of its time out."""
        return self != SpanFilter(start_ns=self.start_ns, end_ns=self.end_ns)

    def applied(self, visible: Conditions, *, roughly: bool = False) -> Conditions:
        """The conditions of what is visible and of this filter. `roughly` lets a few more spans through and reads much less of each."""
        result = visible
        for name, condition in _CONDITIONS.items():
            value = getattr(self, name)
            if value is not None:
                result = result.and_also(condition, **{name: value})
        for number, attribute in enumerate(self.attributes):
            result = attribute_condition(result, f"attribute_{number}", attribute, roughly=roughly)
        for number, word in enumerate(self.words):
            result = result.and_also(_WORD.format(word=f"word_{number}"), **{f"word_{number}": word})
        return result
