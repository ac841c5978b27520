"""SQL expressions that read a stored attribute value, a serialised AnyValue, by its type. An empty value is an absent one.

Beside the plain types they look one level into lists and objects: what is at a place, what is under a key, which texts are members.
The first byte tells the type: 0x0A text, 0x10 boolean, 0x18 integer, 0x21 double, 0x2A list, 0x32 object, 0x3A bytes.
"""

from schemas.span_filter.values import MAX_MEMBERS

_LENGTHS = (129, 16_386, 2_097_155)
"""Longest serialised value, tag and length included, whose length takes one, two and three bytes."""


def is_text(value: str) -> str:
    """Whether it is a text."""
    return f"startsWith({value}, '\\n')"


def content(value: str) -> str:
    """The bytes of a text, list or object behind its tag and length."""
    return f"substring({value}, 3{''.join(f' + (length({value}) > {limit})' for limit in _LENGTHS)})"


def integer(value: str) -> str:
    """The Int64 of an integer value: a varint of up to ten bytes."""
    low = f"reinterpretAsUInt64(substring({value}, 2, 8))"
    groups = " + ".join(f"bitShiftRight(bitAnd({low}, {0x7F << 8 * at}), {at})" for at in range(8))
    ninth = f"bitShiftLeft(toUInt64(bitAnd(reinterpretAsUInt8(substring({value}, 10, 1)), 127)), 56)"
    tenth = f"bitShiftLeft(toUInt64(reinterpretAsUInt8(substring({value}, 11, 1))), 63)"
    return f"reinterpretAsInt64({groups} + {ninth} + {tenth})"


def double(value: str) -> str:
    """The Float64 of a double value."""
    return f"reinterpretAsFloat64(substring({value}, 2))"


def json(value: str) -> str:
    """A plain value as JSON; whatever is not finite and whatever is neither text, boolean nor number is `null`."""
    return (
        f"multiIf({is_text(value)}, toJSONString(toValidUTF8({content(value)})), startsWith({value}, '\\x18'), toString({integer(value)}), "
        f"startsWith({value}, '!'), if(isFinite({double(value)}), toString({double(value)}), 'null'), "
        f"startsWith({value}, '\\x10'), if(endsWith({value}, '\\x01'), 'true', 'false'), 'null')"
    )


def let(body: str, **names: str) -> str:
    """`body` with names for what other expressions give, so that each of those stands there once.

    The engine takes time exponential in how often an expression is repeated inside others, and in how deep such names are nested: keep both small.
    """
    return f"arrayMap(({', '.join(names)}) -> {body}, {', '.join(f'[{sql}]' for sql in names.values())})[1]"


def items(value: str) -> str:
    """What a list or an object, which is a name, is made of: values, or members with key and value; nothing for anything else."""
    inner = content(value)
    most = f"if(startsWith({value}, '*') OR startsWith({value}, '2'), {MAX_MEMBERS}, 0)"
    # Before each item stand a tag and its length: `s.1` is where, and `b` holds them.
    grown = f"if(s.1 > length({inner}), s.2, arrayPushBack(s.2, substring({inner}, s.1 + {_header('b')}, {_size('b')})))"
    following = let(f"(toUInt32(s.1 + {_header('b')} + {_size('b')}), {grown})", b=f"reinterpretAsUInt32(substring({inner}, s.1 + 1, 4))")
    steps = f"range(least({most}, intDiv(length({inner}), 2) + 1))"
    return f"arrayFold((s, x) -> {following}, {steps}, (toUInt32(1), CAST([], 'Array(String)'))).2"


def element(value: str, found: str, place: int) -> str:
    """The value at a place of a list, counted from 0, `found` being its items: empty when there is none, or no list."""
    return f"if(startsWith({value}, '*'), {found}[{place + 1}], '')"


def member(value: str, found: str, key: str) -> str:
    """The value under a key of an object, `found` being its items and `key` what `member_key` gives: empty when there is none, or no object."""
    rest = f"(length(i) - length({key}))"
    behind = f"substring(i, length({key}) + 2 + ({rest} > 128) + ({rest} > 16385) + ({rest} > 2097154))"
    return f"if(startsWith({value}, '2'), arrayMap(i -> if(startsWith(i, {key}), {behind}, ''), [arrayLast(i -> startsWith(i, {key}), {found})])[1], '')"


def member_key(key: str) -> bytes:
    """How a member with this key begins: the key and the tag of the value."""
    raw = key.encode()
    length, size = len(raw), bytearray()
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return b"\n" + bytes(size) + bytes([length]) + raw + b"\x12"


def members(value: str, found: str) -> str:
    """The values directly in a list or an object, `found` being its items."""
    key = "reinterpretAsUInt32(substring(i, 2, 4))"
    behind = content(f"substring(i, 1 + {_header(key)} + {_size(key)})")
    return f"if(startsWith({value}, '2'), arrayMap(i -> {behind}, {found}), {found})"


def _header(word: str) -> str:
    """Bytes of a tag and of the length behind it, of which `word` holds up to four, each but the last with its highest bit set."""
    return f"multiIf(bitAnd({word}, 128) = 0, 2, bitAnd({word}, 32768) = 0, 3, bitAnd({word}, 8388608) = 0, 4, 5)"


def _size(word: str) -> str:
    """The length itself."""
    groups = [f"bitShiftRight(bitAnd({word}, {0x7F << 8 * at}), {at})" for at in range(4)]
    sums = [" + ".join(groups[: at + 1]) for at in range(4)]
    return f"multiIf(bitAnd({word}, 128) = 0, {sums[0]}, bitAnd({word}, 32768) = 0, {sums[1]}, bitAnd({word}, 8388608) = 0, {sums[2]}, {sums[3]})"
