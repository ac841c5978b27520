"""What request bodies share where a surface takes nothing unknown: nothing is guessed and nothing unknown is dropped."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints, ValidationInfo, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Body(BaseModel):
    """A JSON object. A wrong type is refused and not converted; an unknown field is refused, so that a slip does not pass for a setting."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Names that do not fit the form of an object's keys are refused, so the document says so."""
        schema = handler(core_schema)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            for each in (field, *field.get("anyOf", ())):
                if "patternProperties" in each:
                    each["additionalProperties"] = False
        return schema

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: Any, field: ValidationInfo) -> Any:
        """JSON has one kind of number: 3.0 is a whole one where a whole one is asked for."""
        whole = isinstance(value, float) and value.is_integer() and cls.model_fields[field.field_name or ""].annotation is int
        return int(value) if whole else value

    def given(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(exclude_unset=True)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("an ISO 8601 time such as 2026-01-31T12:00:00Z is a text")
    return value


def _with_zone(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        # Hours before the year 1 or after 9999; next to the first or last instant that can be said no event is on the other side.
        return (datetime.min if value.year == 1 else datetime.max).replace(tzinfo=UTC)


Instant = Annotated[datetime, Field(strict=False), BeforeValidator(_text, json_schema_input_type=datetime), AfterValidator(_with_zone)]
"""An ISO 8601 time; without an offset it is UTC. One that an offset moves out of the years 1 to 9999 is their first or last instant."""
NAME_FORM = r"^[^\x00-\x1f\x7f]{1,200}$"
Name = Annotated[str, StringConstraints(pattern=NAME_FORM)]
"""1 to 200 characters, none of them control characters; what definitions take as names and ids."""
Percent = Annotated[float, Field(ge=0, le=100)]
