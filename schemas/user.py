"""People with access to the platform."""

import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from schemas.fields import Name, TenantId, Time

UserRole = Literal["admin", "analyst", "developer", "viewer", "member"]
AuthMethod = Literal["LOCAL", "OAUTH2", "LDAP"]

EMAIL_FORM: Final = r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+"
"""A valid e-mail address of the HTML standard (section 4.10.5.1.5), with at least one dot in the domain."""
EMAIL_MAX: Final = 254
"""RFC 5321 with its erratum 1690."""
Email = Annotated[str, Meta(pattern=rf"^{EMAIL_FORM}\Z", max_length=EMAIL_MAX)]


def user_id(email: str) -> str:
    """The id of the user with an address, in any case. It follows from the address, so that no address can be given twice."""
    return "usr_" + hashlib.sha256(email.lower().encode()).hexdigest()[:16]


class User(msgspec.Struct, frozen=True):
    """Somebody who may use a tenant's data, within what the role allows."""

    tenant: TenantId
    id: Name
    email: Email
    name: Name
    role: UserRole
    created_at: Time | None = None
    auth_method: AuthMethod = "LOCAL"
    """What a client of the LLM surface said. Nothing is decided by it: API keys give access, however a person proves who they are elsewhere."""
