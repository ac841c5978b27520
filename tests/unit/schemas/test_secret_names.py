"""Settings that hold secrets, by their names."""

from typing import Any

import pytest

from schemas.secret_names import holds_secret, secrets_in


@pytest.mark.parametrize(
    "name",
    [
        "api_key", "apiKey", "APIKey", "apikey", "API_KEY", "X-Api-Key", "openai.api key", "token", "auth_token", "accessToken", "password", "db_passwd",
        "secret", "clientSecret", "aws_secret_access_key", "private_key", "Authorization", "credentials",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert holds_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "_", "7", "api_key_env", "passwordEnv", "token_env", "max_tokens", "tokens", "token_limit", "eos_token", "stopToken", "pad-token", "key",
        "cache_key", "keys", "secretary", "tokenizer", "monkey", "password_file",
    ],
)  # fmt: skip
def test_other_names(name: str) -> None:
    assert not holds_secret(name)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, []),
        ({"token": "x", "max_tokens": 5, "deep": {"list": [1, {"api_key": 5}]}}, ["deep.list.1.api_key", "token"]),
        ({"token": {"password": "x"}}, ["token"]),
        ({"secret": ["x"]}, ["secret"]),
        ({"token": None, "password": "", "secret": False, "api_key": True}, []),
    ],
)
def test_where_they_are(config: dict[str, Any], expected: list[str]) -> None:
    assert sorted(secrets_in(config)) == expected
