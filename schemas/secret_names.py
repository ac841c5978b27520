"""Names under which settings hold secrets: told apart from names of variables and from the tokens that models count or write."""

import re
from collections.abc import Iterator
from typing import Any, Final

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LAST: Final = frozenset({"apikey", "token", "password", "passwd", "passphrase", "secret", "credential", "credentials", "authorization"})
"""A name that ends in one of these words holds a secret."""
_KEYS: Final = frozenset({"api", "access", "private", "secret", "signing", "encryption"})
"""And one that ends in `key` behind one of these."""
_VOCABULARY: Final = frozenset({"bos", "eos", "pad", "unk", "sep", "cls", "mask", "start", "stop", "end"})
"""Special tokens of a model's vocabulary, such as `eos_token`."""


def holds_secret(name: str) -> bool:
    """Whether a setting of this name, in snake, kebab or camel case, holds the value of a secret: `api_key`, `authToken` and `X-Api-Key` do,
    `api_key_env`, `max_tokens` and `eos_token` do not."""
    behind, last = ["", "", *(word.lower() for word in _WORD.findall(name))][-2:]
    return (last in _LAST and not (last == "token" and behind in _VOCABULARY)) or (last == "key" and behind in _KEYS)


def secrets_in(config: dict[str, Any]) -> Iterator[str]:
    """The paths, joined by dots, under which an object of JSON holds secrets, in it or deeper. A setting that is null, false, true or an empty
    text holds none."""
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(f"{path}.{number}", each) for number, each in enumerate(value)]
        elif isinstance(value, dict):
            for name, each in value.items():
                inner = f"{path}.{name}".removeprefix(".")
                if holds_secret(name) and not (each is None or isinstance(each, bool) or each == ""):
                    yield inner
                else:
                    waiting.append((inner, each))
