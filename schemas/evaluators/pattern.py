"""`regex`: whether a text holds a match of a regular expression."""

from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
import re2
from msgspec import Meta

from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import FAIL, PASS, Verdict, shortened

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20
MAX_PATTERN: Final = 1_000
"""Characters of a pattern."""


class Regex(msgspec.Struct, frozen=True, tag="regex", tag_field="type"):
    """Label `match` or `no_match`; score 1 when that is what is wanted. The syntax is RE2's, whose time is linear in the text."""

    pattern: Annotated[str, Meta(min_length=1, max_length=MAX_PATTERN)]
    attribute: str = "output"
    wanted: bool = True
    """False: a match is what is not wanted."""

    def __post_init__(self) -> None:
        _compiled(self.pattern)

    def verdict(self, span: EvaluatedSpan) -> Verdict:
        """Raises CannotJudge without the attribute."""
        text = span.text(self.attribute)
        found = _compiled(self.pattern).search(text)
        score = PASS if (found is not None) == self.wanted else FAIL
        if found is None:
            return Verdict("no_match", score, f"`{self.attribute}` holds no match")
        return Verdict("match", score, f"`{self.attribute}` holds {shortened(found.group(0), 200)!r} at character {found.start()}")


@lru_cache(maxsize=1_024)
def _compiled(pattern: str) -> Any:
    try:
        return re2.compile(pattern, _OPTIONS)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0] if error.args else ""
        words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"pattern: not a regular expression of RE2 (https://github.com/google/re2/wiki/Syntax): {words}") from error
