"""What request bodies of the surface share."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from infra.runtime.errors import ValidationFailed
from query_api.domain.json_values import check_json

TEXT_LENGTH = 300


def _not_blank(value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise PydanticCustomError("blank", "can't be blank")
    return value


def _answerable(value: dict[str, Any]) -> dict[str, Any]:
    """What is stored must fit into every answer that lists it."""
    try:
        check_json(value, "config")
    except ValidationFailed as error:
        raise PydanticCustomError("not_answerable", "{reason}", {"reason": error.message}) from error
    return value


Name = Annotated[str, BeforeValidator(_not_blank), StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,300}$", max_length=TEXT_LENGTH)]
"""1 to 300 characters, none of them control characters and not only blanks."""
Text = Annotated[str, StringConstraints(max_length=10_000)]
Tags = Annotated[list[Name], Field(max_length=100)]
Config = Annotated[dict[str, Any], AfterValidator(_answerable)]
"""A JSON object that is kept as it is sent: numbers of at most 64 bits, not nested without end."""
