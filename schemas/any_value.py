"""OTLP's AnyValue: stored as the client's own bytes, read back typed.

An attribute's value is stored as the serialised AnyValue. Nothing is lost that way: int 0, an empty string, false and an
absent value are four different byte strings, and arrays and key-value lists keep their nesting. Equal values are equal
bytes as every OTLP exporter writes them, so SQL can compare and count values without decoding.
"""

from functools import lru_cache
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

Value = str | bool | int | float | bytes | list[Any] | dict[str, Any] | None

_ONE_BYTE, _TWO_BYTES, _THREE_BYTES = 129, 16_386, 2_097_155
"""Longest serialised string value whose length prefix takes one, two and three bytes (tag and prefix included)."""


def typed(message: AnyValue) -> Value:
    """The value as Python has it. A key-value list becomes a dict, in which the last of equal keys wins."""
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [typed(item) for item in message.array_value.values]
    if kind == "kvlist_value":
        return {item.key: typed(item.value) for item in message.kvlist_value.values}
    return getattr(message, kind)  # type: ignore[no-any-return]


def decode(raw: bytes) -> Value:
    """Read a stored value. Raises google.protobuf.message.DecodeError when the bytes are not an AnyValue."""
    return typed(AnyValue.FromString(raw))


def message_of(value: Value) -> AnyValue:
    """The AnyValue of a Python value; the inverse of `typed`. Raises TypeError for other types, ValueError beyond 64 bits."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            message = AnyValue()
            message.array_value.SetInParent()
            message.array_value.values.extend(message_of(item) for item in value)
            return message
        case dict():
            message = AnyValue()
            message.kvlist_value.SetInParent()
            message.kvlist_value.values.extend(KeyValue(key=key, value=message_of(item)) for key, item in value.items())
            return message
    raise TypeError(f"no AnyValue holds a {type(value).__name__}")


def encode(value: Value) -> bytes:
    """The bytes a stored attribute with this value has, for equality filters."""
    return message_of(value).SerializeToString()


@lru_cache(maxsize=4_096)
def resource_attributes(raw: bytes) -> tuple[tuple[str, Value], ...]:
    """The attributes of a stored `resource`, typed, in the client's order."""
    return tuple((item.key, typed(item.value)) for item in Resource.FromString(raw).attributes)


def sql_text(value: str) -> str:
    """SQL: a stored value as text: a string, a whole number from 0 to 2^28 - 1, a boolean as 1 or 0, a double; anything else is empty.

    Kept short because the engine analyses it with every INSERT.
    """
    string = f"substring({value}, 3 + (length({value}) > {_ONE_BYTE}) + (length({value}) > {_TWO_BYTES}) + (length({value}) > {_THREE_BYTES}))"
    bits = f"reinterpretAsUInt64(substring({value}, 2))"
    groups = " + ".join(f"bitShiftRight(bitAnd({bits}, {0x7F << 8 * i}), {i})" for i in range(4))
    double = f"toString(reinterpretAsFloat64(substring({value}, 2)))"
    return f"multiIf({value} < '\\x0B', {string}, {value} < '\\x19' AND length({value}) < 6, toString({groups}), startsWith({value}, '!'), {double}, '')"
