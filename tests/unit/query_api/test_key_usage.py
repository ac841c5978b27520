"""The last use of each key, from the records of the topic."""

import datetime as dt

import pytest

from query_api.readers.key_usage import KeyUsage
from schemas.avro import KeyUse, encode_key_use

AT = 1_790_000_000_000_000


def test_the_latest_use_holds_in_whatever_order_processes_publish() -> None:
    usage = KeyUsage("127.0.0.1:1")
    assert usage.last_used_at("acme", "k1") is None
    for use in (KeyUse("acme", "k1", AT + 5_000_000), KeyUse("acme", "k1", AT), KeyUse("other", "k1", AT)):
        usage.take(use.key, encode_key_use(use))
    usage.take(b"acme/k1", b"")
    first = dt.datetime.fromtimestamp(AT / 1e6, dt.UTC)
    assert usage.last_used_at("acme", "k1") == first + dt.timedelta(seconds=5) and usage.last_used_at("other", "k1") == first
    with pytest.raises(ValueError, match="key_use"):
        usage.take(b"acme/k1", b"rubbish")
