"""A judge knows the traces of its own calls, and no other."""

import re
import secrets

from schemas.evaluators.own_calls import is_own, own_traceparent


def test_own_traces_are_known_and_asked_not_to_be_sampled() -> None:
    for _ in range(200):
        header = own_traceparent()
        found = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-00", header)
        assert found and is_own(found[1])


def test_other_traces_are_not() -> None:
    assert not any(is_own(secrets.token_hex(16)) for _ in range(20_000))
    assert not any(is_own(text) for text in ("", "4bf92f3577b34da6a3ce929d0e0e4736", "no hex", "00" * 8))
