"""OTLP's JSON: like protobuf's JSON, except that ids are hex and enums are integers, and unknown fields are ignored."""

import base64
import binascii
import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from infra.runtime.errors import InvalidArgument

_HEX = frozenset(("trace_id", "span_id", "parent_span_id"))
_WHOLE = re.compile(r"-?[0-9]+")
_SPECIAL = frozenset(("NaN", "Infinity", "-Infinity"))
# An AnyValue inside an array or a list opens two messages; the parser of protobuf bytes stops at 100 in all.
_MESSAGES_PER_LEVEL = 2

Convert = Callable[[Any], Any]


class _Field(NamedTuple):
    name: str
    repeated: bool
    convert: Convert | None
    """None for messages."""
    message: Descriptor | None


def decode(request: type[Message], body: bytes, max_nesting: int) -> Message:
    """The request of JSON bytes. `max_nesting` bounds how deep values may lie within each other.

    Raises InvalidArgument, naming the field, for whatever is not OTLP JSON.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"The body is not valid JSON: {error}.") from error
    message = request()
    # 12 messages lie between a request and an attribute's value in the deepest place there is, an exemplar.
    _fill(message, _object(document, "the request"), _fields(request.DESCRIPTOR), min(12 + _MESSAGES_PER_LEVEL * max_nesting, 96))
    return message


def _fill(message: Any, document: dict[str, Any], fields: dict[str, _Field], depth: int) -> None:
    if depth < 0:
        raise InvalidArgument("The request is nested too deep.")
    for key, value in document.items():
        field = fields.get(key)
        if field is None or value is None:
            continue
        name, repeated, convert, inner = field
        if repeated:
            if type(value) is not list:
                raise InvalidArgument(f"{key} must be an array.")
            target = getattr(message, name)
            if inner is not None:
                inner_fields = _fields(inner)
                for item in value:
                    _fill(target.add(), _object(item, key), inner_fields, depth - 1)
            elif convert is not None:
                target.extend([_converted(convert, item, key) for item in value])
        elif inner is not None:
            target = getattr(message, name)
            target.SetInParent()
            _fill(target, _object(value, key), _fields(inner), depth - 1)
        elif convert is not None:
            try:
                setattr(message, name, convert(value))
            except (ValueError, TypeError) as error:
                raise InvalidArgument(f"{key}: {error}.") from error


def _converted(convert: Convert, value: Any, key: str) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"{key}: {error}.") from error


def _object(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidArgument(f"{what} must be an object.")
    return value


@cache
def _fields(descriptor: Descriptor) -> dict[str, _Field]:
    return {field.json_name: _Field(field.name, field.is_repeated, _converter(field), field.message_type) for field in descriptor.fields}


def _converter(field: FieldDescriptor) -> Convert | None:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _hex if field.name in _HEX else _base64
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _enum
    kinds: dict[int, Convert | None] = {
        FieldDescriptor.CPPTYPE_STRING: _string,
        FieldDescriptor.CPPTYPE_BOOL: _bool,
        FieldDescriptor.CPPTYPE_DOUBLE: _double,
        FieldDescriptor.CPPTYPE_FLOAT: _double,
        FieldDescriptor.CPPTYPE_INT32: _bounded(-(1 << 31), (1 << 31) - 1),
        FieldDescriptor.CPPTYPE_UINT32: _bounded(0, (1 << 32) - 1),
        FieldDescriptor.CPPTYPE_INT64: _bounded(-(1 << 63), (1 << 63) - 1),
        FieldDescriptor.CPPTYPE_UINT64: _bounded(0, (1 << 64) - 1),
    }
    return kinds.get(field.cpp_type)


def _string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("must be a string")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def _double(value: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    if type(value) is str and (value in _SPECIAL or value[:1] in "-0123456789"):
        number = float(value)
        if value in _SPECIAL or abs(number) != float("inf"):
            return number
    raise ValueError("must be a number")


def _bounded(low: int, high: int) -> Convert:
    def convert(value: Any) -> int:
        # Text longer than any 64-bit number is refused before it is parsed, which takes quadratic time.
        if type(value) is int:
            number = value
        elif (type(value) is str and len(value) <= 20 and _WHOLE.fullmatch(value)) or (type(value) is float and value.is_integer()):
            number = int(value)
        else:
            raise ValueError("must be a whole number or a string of one")
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high}")
        return number

    return convert


_enum_number = _bounded(-(1 << 31), (1 << 31) - 1)


def _enum(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("must be the integer of the enum value")
    return int(_enum_number(value))


def _hex(value: Any) -> bytes:
    # A wrong length is not judged here: it is one bad item, not a bad request.
    if type(value) is not str:
        raise ValueError("must be a string of hexadecimal digits")
    try:
        return binascii.unhexlify(value)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be hexadecimal") from error


def _base64(value: Any) -> bytes:
    if type(value) is not str:
        raise ValueError("must be a base64 string")
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
