"""`judge`: a model that is asked, through any OpenAI-compatible `/chat/completions`, which of some labels fits a span."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from schemas.evaluators.span import EvaluatedSpan
from schemas.evaluators.verdict import CannotJudge, Verdict, shortened

MAX_PROMPT: Final = 50_000
"""Characters of a template."""
MAX_VALUE: Final = 30_000
"""Characters of one value put into a prompt; of a longer one the middle is left out."""
_GAP = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_AROUND = " \t\r\n.,;:!\"'`*_#()[]{}"
_RESERVED: Final = ("model", "messages", "stream", "n")

Label = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]


class Budget(msgspec.Struct, frozen=True):
    """What a judge may use. A repeated attempt is a call too."""

    calls_per_minute: Annotated[int, Meta(ge=1, le=100_000)] = 60
    """More wait."""
    calls_per_day: Annotated[int, Meta(ge=1)] = 10_000
    """More are failures, until the next day in UTC."""
    cost_per_day: Annotated[float, Meta(gt=0)] | None = None
    """In the currency of the tenant's price list, which must have a price for the model; more are failures until the next day."""


class Judge(msgspec.Struct, frozen=True, tag="judge", tag_field="type"):
    """Label and score are those of the choice the model answers with. Any other answer is a failure, and no annotation."""

    base_url: Annotated[str, Meta(max_length=1_000)]
    """Up to and without `/chat/completions`: `https://api.openai.com/v1`."""
    model: Annotated[str, Meta(min_length=1, max_length=300)]
    prompt: Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT)]
    """`{{name}}` stands for a field or an attribute of the span: `{{input}}`, `{{output}}`, `{{retrieval.documents.0.document.content}}`."""
    choices: Annotated[dict[Label, float | None], Meta(min_length=2, max_length=50)]
    """Score by label; null for a label without one."""
    secret: Annotated[str, Meta(max_length=100)] = ""
    """Name of the key among MILLSTREAM_EVALUATION_SECRETS; empty for an endpoint that needs none."""
    provider: str = ""
    """Under which the price list has the model."""
    explain: bool = False
    """Ask for the reasons too; they become the explanation."""
    parameters: dict[str, Any] = {}
    """Sent with the call as they are: `temperature`, `max_tokens`, `seed`."""
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 30.0
    """Of one attempt."""
    attempts: Annotated[int, Meta(ge=1, le=10)] = 4
    """After a timeout, a broken connection, 408, 409, 429 and 5xx, each a while after the one before."""
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 4
    """Calls under way together."""
    budget: Budget = Budget()

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username is not None:
            raise ValueError("base_url: must look like https://api.openai.com/v1, without a user, a query or a fragment")
        if not _GAP.search(self.prompt):
            raise ValueError("prompt: names nothing of the span, so every span would get the same answer; put in {{output}}, for instance")
        folded = [_bare(label) for label in self.choices]
        if len(set(folded)) != len(folded) or not all(folded):
            raise ValueError("choices: two labels differ only in case or punctuation, or one has nothing else; answers could not be told apart")
        for name in _RESERVED:
            if name in self.parameters:
                raise ValueError(f"parameters: `{name}` is set by the rule itself; leave it out")

    @property
    def url(self) -> str:
        """Where calls go."""
        return f"{self.base_url.rstrip('/')}/chat/completions"

    def prompt_for(self, span: EvaluatedSpan) -> str:
        """The template with the span's values. Values are put in once: what looks like a gap inside one stays as it is. Raises CannotJudge for one that is missing."""
        return _GAP.sub(lambda gap: _middle_out(span.text(gap[1])), self.prompt)

    def request(self, prompt: str) -> dict[str, Any]:
        """The body of the call."""
        listed = ", ".join(self.choices)
        how = (
            f"First explain your judgement in a few sentences. Then write, on a line of its own at the very end, one of these labels and nothing else: {listed}"
            if self.explain
            else f"Answer with one of these labels and nothing else: {listed}"
        )
        messages = [{"role": "system", "content": how}, {"role": "user", "content": prompt}]
        return {**self.parameters, "model": self.model, "messages": messages}

    def verdict_of(self, answer: str) -> Verdict:
        """What an answer says. Raises CannotJudge for one that is none of the choices."""
        before, _, last = answer.rstrip().rpartition("\n") if self.explain else ("", "", answer)
        by_bare = {_bare(label): label for label in self.choices}
        label = by_bare.get(_bare(last)) or by_bare.get(_bare(last.rpartition(":")[2]))
        if label is None:
            raise CannotJudge("not_a_choice", f"the model answered {shortened(answer.strip(), 200)!r}, which is none of {', '.join(self.choices)}")
        return Verdict(label, self.choices[label], shortened(before.strip()))


def gaps(prompt: str) -> list[str]:
    """What a template names, in order, each once."""
    return list(dict.fromkeys(_GAP.findall(prompt)))


def same_origin(url: str, other: str) -> bool:
    """Whether two URLs lead to the same scheme, host and port."""
    return _origin(url) == _origin(other)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    standard: Mapping[str, int] = {"http": 80, "https": 443}
    return parts.scheme, parts.hostname or "", parts.port or standard.get(parts.scheme)


def _bare(text: str) -> str:
    return text.strip(_AROUND).casefold()


def _middle_out(text: str) -> str:
    if len(text) <= MAX_VALUE:
        return text
    half = MAX_VALUE // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
