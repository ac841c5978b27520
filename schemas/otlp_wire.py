"""How a block of OTLP requests is laid out: the clients' own bytes, each in an envelope, read natively by the engine.

A block's body is a sequence of length-delimited `Envelope` messages. The member `body` holds an Export*ServiceRequest
exactly as the client sent it, so a block is built by concatenation. The `.proto` text below is ours and differs from
OpenTelemetry's on purpose: what is stored as bytes (resources, attribute values, events, links) is declared as bytes.
Fields that a newer OTLP has and this text lacks are kept wherever bytes are stored; elsewhere they stay in the block on
the topic, but not in the table.
"""

from collections.abc import Iterable
from dataclasses import dataclass

KEY_VALUES = "Array(Tuple(key String, value String))"
"""Structure of attributes as the engine reads them: the value is a serialised AnyValue, see `schemas.any_value`."""

SCOPE_STRUCTURE = f"scope Tuple(name String, version String, attributes {KEY_VALUES})"


def proto(messages: str, group: str) -> str:
    """The schema of a block. `messages` declares ScopeSpans and what is in it when `group` is `Spans`; the rest is the same for every signal."""
    lower = group.lower()
    return f"""syntax = "proto3";
message KeyValue {{ string key = 1; bytes value = 2; }}
message Scope {{ string name = 1; string version = 2; repeated KeyValue attributes = 3; }}
{messages.strip()}
message Resource{group} {{ bytes resource = 1; repeated Scope{group} scope_{lower} = 2; string schema_url = 3; }}
message Export {{ repeated Resource{group} resource_{lower} = 1; }}
message Envelope {{ string tenant = 1; int64 received_us = 2; int64 earliest_ns = 3; int64 latest_ns = 4;
  repeated string services = 5; repeated string projects = 6; Export body = 7; }}
"""


def structure(group: str, item: str) -> str:
    """The structure of a block. `item` names the scope's items with their structure, such as `spans Array(...)`."""
    lower = group.lower()
    scopes = f"scope_{lower} Array(Tuple({SCOPE_STRUCTURE}, {item}, schema_url String))"
    body = f"Tuple(resource_{lower} Array(Tuple(resource String, {scopes}, schema_url String)))"
    return f"tenant String, received_us Int64, earliest_ns Int64, latest_ns Int64, services Array(String), projects Array(String), body {body}"


def settings(schema: str) -> dict[str, str]:
    """What an INSERT of a block needs: the schema, one thread so that a retry makes the same rows in the same order, no merging on the way in,
    and no search for a better plan than the one written down, which would take longer than the rows of a small block."""
    return {
        "format_schema_source": "string",
        "format_schema": schema,
        "format_schema_message_name": "Envelope",
        "max_threads": "1",
        "max_insert_threads": "1",
        "optimize_on_insert": "0",
        "query_plan_enable_optimizations": "0",
        "compile_expressions": "0",
    }


def varint(number: int) -> bytes:
    """A non-negative integer below 2^64 as a protobuf varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@dataclass(frozen=True)
class Window:
    """Time of receipt and the event times that are not absurdly far from it. Rows outside are stored and flagged."""

    received_us: int
    earliest_ns: int
    latest_ns: int

    @classmethod
    def around(cls, received_us: int, past_s: int, future_s: int) -> "Window":
        earliest = max(received_us * 1_000 - past_s * 1_000_000_000, 0)
        return cls(received_us, earliest, received_us * 1_000 + future_s * 1_000_000_000)


def envelope_head(tenant: str, window: Window, services: Iterable[str], projects: Iterable[str], body_size: int) -> bytes:
    """Everything of an envelope that comes before the client's `body_size` bytes, which follow as they are.

    `services` and `projects` have one entry for each resource of the request, in its order.
    """
    inner = b"".join(
        (
            _text(1, tenant),
            b"\x10" + varint(window.received_us),
            b"\x18" + varint(window.earliest_ns),
            b"\x20" + varint(window.latest_ns),
            *(_text(5, service) for service in services),
            *(_text(6, project) for project in projects),
            b"\x3a" + varint(body_size),
        )
    )
    return varint(len(inner) + body_size) + inner


def _text(field: int, value: str) -> bytes:
    raw = value.encode()
    return bytes((field << 3 | 2,)) + varint(len(raw)) + raw
