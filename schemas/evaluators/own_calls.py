"""How the calls of judges are told from everything else that is traced, so that no judge ever judges itself.

A judge sends its call with a W3C `traceparent` that is marked as not sampled. Whoever traces it nevertheless, a gateway of models for
instance, continues that trace, whose id says of itself where it comes from: its second half is a hash of its first. Chance makes such an id once in
2^64.
"""

import secrets
from typing import Final

import xxhash

_SEED: Final = 0x6A756467


def own_traceparent() -> str:
    """The header of one call, different each time."""
    half = secrets.token_bytes(8)
    return f"00-{half.hex()}{_second(half)}-{secrets.token_hex(8)}-00"


def is_own(trace_id: str) -> bool:
    """Whether a trace, by its id in lower-case hex, began with the call of a judge."""
    try:
        half = bytes.fromhex(trace_id[:16])
    except ValueError:
        return False
    return len(trace_id) == 32 and trace_id[16:] == _second(half)


def _second(half: bytes) -> str:
    return xxhash.xxh3_64(half, seed=_SEED).hexdigest()
