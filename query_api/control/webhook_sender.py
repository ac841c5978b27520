"""Sends one message to one webhook and says what to make of the answer."""

from typing import Final, NamedTuple

from infra.runtime.clock import Clock
from infra.runtime.outbound import Answer, Outbound
from query_api.control.webhook_queue import Ended, Message
from query_api.control.webhooks import Target
from schemas.webhook_signature import signed_headers

RETRIES_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Pause after each failed attempt, in seconds, the schedule that Standard Webhooks 1.0 suggests: the first attempt is made at once,
the last one about three days later."""
GONE: Final = "the receiver answered 410 Gone"


class Verdict(NamedTuple):
    """What became of an attempt, and why the webhook is to be disabled, if it is."""

    ended: Ended
    disable: str = ""


class WebhookSender:
    """Keeps nothing; may be used from several tasks."""

    def __init__(self, outbound: Outbound, clock: Clock) -> None:
        self._outbound = outbound
        self._clock = clock

    async def send(self, target: Target, message: Message, attempts: int, *, retries: bool = True) -> Verdict:
        """Makes one attempt after `attempts` others. Never raises; takes at most the timeout."""
        body = message.body.encode()
        # The time of the attempt, not of the event: receivers refuse old ones, so that nobody can send a message again.
        headers = signed_headers(target.secrets, message.event, self._clock.now_us() // 1_000_000, body)
        answer = await self._outbound.post(target.url, body, {**headers, "Content-Type": "application/json", "User-Agent": "Millstream-Webhooks/1.0"})
        return judged(answer, attempts, self._clock.now_us(), retries=retries)


def judged(answer: Answer, attempts: int, now_us: int, *, retries: bool = True) -> Verdict:
    """What an answer means after `attempts` attempts before it: a status of 2xx is success, everything else, redirects included, is not."""
    took_ms = int(answer.seconds * 1_000)
    if answer.status is not None and 200 <= answer.status < 300:
        return Verdict(Ended("delivered", None, answer.status, "", took_ms))
    problem = answer.problem or f"the receiver answered {answer.status}" + (", and redirects are not followed" if (answer.status or 0) // 100 == 3 else "")
    if answer.status == 410:
        return Verdict(Ended("failed", None, 410, GONE, took_ms), GONE)
    if not retries or attempts >= len(RETRIES_S):
        return Verdict(Ended("failed", None, answer.status, problem, took_ms))
    pause = max(RETRIES_S[attempts], min(answer.retry_after_s or 0, RETRIES_S[-1]))
    return Verdict(Ended("pending", now_us + pause * 1_000_000, answer.status, problem, took_ms))
