"""What request bodies of the surface share."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

TEXT_LENGTH = 300


def _not_blank(value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise PydanticCustomError("blank", "can't be blank")
    return value


Name = Annotated[str, BeforeValidator(_not_blank), StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,300}$", max_length=TEXT_LENGTH)]
"""1 to 300 characters, none of them control characters and not only blanks."""
Text = Annotated[str, StringConstraints(max_length=10_000)]
Tags = Annotated[list[Name], Field(max_length=100)]
Config = dict[str, Any]
"""A JSON object that is kept as it is sent."""
