"""The query parameter `attribute`: `dotted.path:value`, where the value is JSON, or text that is no JSON."""

import orjson

from infra.runtime.errors import ValidationFailed
from query_api.readers.attribute_condition import AttributeIs

_SHOWN = 200


def parse_attribute(text: str) -> AttributeIs:
    """What a filter asks for; cut at its first colon, so that values may have colons. Raises ValidationFailed."""
    path, colon, value = text.partition(":")
    if not colon:
        raise ValidationFailed(f"Invalid attribute {text[:_SHOWN]!r}: expected `path:value`, as in `llm.model_name:gpt-4o`.")
    if not path:
        raise ValidationFailed("Invalid attribute: the path before the colon must not be empty.")
    if not value:
        raise ValidationFailed('Invalid attribute: the value after the colon must not be empty; an empty text is `path:""`.')
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return AttributeIs(path, value)
    if not isinstance(parsed, str | bool | int | float):
        raise ValidationFailed(
            f"Invalid attribute value {value[:_SHOWN]!r}: a list, an object or null cannot be looked for. A text that looks like one is quoted: "
            f"`{path[:_SHOWN]}:{orjson.dumps(value[:_SHOWN]).decode()}`."
        )
    return AttributeIs(path, parsed)
