"""Messages verify with the library that Standard Webhooks itself gives to receivers."""

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from schemas.webhook_signature import make_secret, sign, signed_headers

BODY = b'{"type":"flag.toggled","data":{"name":"caf\xc3\xa9"}}'


def now_s() -> int:
    return int(datetime.now(UTC).timestamp())


def test_the_published_vector() -> None:
    secret, message, at, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    assert sign(secret, message, at, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_verifies_and_a_changed_one_does_not() -> None:
    secret = make_secret()
    headers = signed_headers([secret], "msg_1", now_s(), BODY)
    assert Webhook(secret).verify(BODY, headers) == {"type": "flag.toggled", "data": {"name": "café"}}
    for changed in (BODY.replace(b"toggled", b"deleted"), BODY + b" "):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(changed, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, {**headers, "webhook-id": "msg_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret()).verify(BODY, headers)


def test_an_old_message_is_refused() -> None:
    secret = make_secret()
    old = signed_headers([secret], "msg_1", now_s() - int(timedelta(minutes=6).total_seconds()), BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, old)


def test_while_a_secret_is_replaced_either_verifies() -> None:
    new, old = make_secret(), make_secret()
    headers = signed_headers([new, old], "msg_1", now_s(), BODY)
    for secret in (new, old):
        Webhook(secret).verify(BODY, headers)


def test_secrets_are_of_the_length_the_specification_asks_for() -> None:
    secret = make_secret()
    assert secret.startswith("whsec_") and secret != make_secret()
    assert 24 <= len(Webhook(secret)._whsecret) <= 64


def test_a_secret_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError):
        sign("whsec_***", "msg_1", 0, BODY)
