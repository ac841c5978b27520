"""Secrets and signatures of webhooks, as Standard Webhooks 1.0 has them.

A receiver proves who sent a message and that nothing changed on the way: the signature is HMAC-SHA-256 over
`id.timestamp.body` under a secret that only the two sides know. Source: the specification "Standard Webhooks" 1.0.0, section
"Verifying webhook authenticity".
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

SECRET_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def make_secret() -> str:
    """A new secret, different each time; 256 bits from the system's random source."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """One signature of a message: `v1,` and base64. Raises ValueError for a secret that is not base64 behind its prefix."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    digest = hmac.new(key, b".".join((message_id.encode(), str(timestamp_s).encode(), body)), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def signed_headers(secrets_in_force: Iterable[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers of a message. With several secrets, as while one replaces another, a receiver that knows any of them accepts it."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp_s, body) for secret in secrets_in_force),
    }
