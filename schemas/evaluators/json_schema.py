"""`json_schema`: whether a text is JSON of a given form.

The schemas are those of json-schema.org, draft 2020-12 unless `$schema` says otherwise. Nothing is fetched: a reference leads within the
schema. Patterns run in time linear in the text.
"""

from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import msgspec

from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import FAIL, PASS, CannotJudge, Verdict, shortened

MAX_SCHEMA: Final = 65_536
"""Bytes of a schema as JSON."""
MAX_TEXT: Final = 2_000_000
"""Characters of a text that is judged."""


class JsonSchema(msgspec.Struct, frozen=True, tag="json_schema", tag_field="type"):
    """Label `valid`, `invalid` or `not_json`; score 1 for a valid one."""

    schema: dict[str, Any] | bool
    attribute: str = "output"

    def __post_init__(self) -> None:
        text = msgspec.json.encode(self.schema)
        if len(text) > MAX_SCHEMA:
            raise ValueError(f"schema: has {len(text)} bytes as JSON; the limit is {MAX_SCHEMA}")
        _validator(text.decode())

    def verdict(self, span: EvaluatedSpan) -> Verdict:
        """Raises CannotJudge without the attribute, and for a text too long to look at."""
        text = span.text(self.attribute)
        if len(text) > MAX_TEXT:
            raise CannotJudge("too_long", f"`{self.attribute}` has {len(text)} characters; at most {MAX_TEXT} are judged")
        try:
            instance = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
            return Verdict("not_json", FAIL, f"`{self.attribute}` is not JSON: {error}")
        problem = next(_validator(msgspec.json.encode(self.schema).decode()).iter_errors(instance), None)
        if problem is None:
            return Verdict("valid", PASS)
        place = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem.instance_path)
        return Verdict("invalid", FAIL, shortened(f"{place}: {problem.message}"))


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    try:
        return jsonschema_rs.validator_for(schema, retriever=_nothing, pattern_options=jsonschema_rs.RegexOptions())
    except (jsonschema_rs.ValidationError, ValueError) as error:
        path = "/".join(str(step) for step in getattr(error, "instance_path", ()))
        raise ValueError(f"schema: not a JSON schema{f', at {path}' if path else ''}: {getattr(error, 'message', error)}") from error


def _nothing(uri: str) -> Any:
    raise ValueError(f"{uri} is elsewhere; put what it holds into `$defs`")
