"""A user checks itself, and its id follows from the address."""

import msgspec
import pytest

from schemas.user import User, user_id

PLAIN = {"tenant": "default", "id": "usr_1", "email": "ada@example.com", "name": "Ada", "role": "viewer"}


@pytest.mark.parametrize("email", ["ada@example.com", "a.b+c'd@mail-1.example.co.uk", "x@1.museum"])
def test_addresses_that_mail_goes_to(email: str) -> None:
    assert msgspec.convert(PLAIN | {"email": email}, User).email == email


@pytest.mark.parametrize(
    "email", ["ada", "ada@localhost", "ada@example..com", "ada@.com", "@example.com", "a@b@c.de", "ada@example.com\n", f"{'a' * 250}@b.de"]
)
def test_addresses_that_are_none(email: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="email"):
        msgspec.convert(PLAIN | {"email": email}, User)


def test_an_address_has_one_id_in_any_case() -> None:
    assert user_id("Ada@Example.com") == user_id("ada@example.com") != user_id("bob@example.com")
