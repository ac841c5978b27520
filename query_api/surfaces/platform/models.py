"""Pieces that several answers of the surface share."""

from typing import Final

from pydantic import BaseModel, Field

READ_ERRORS: Final = ("invalid_argument", "unauthenticated", "forbidden", "validation_failed", "query_limit", "unavailable", "internal")
"""What any read may answer."""


class Meta(BaseModel):
    """About the answer itself."""

    watermark: str = Field(description="Everything up to these positions is in the answer.", examples=["events:0:118,events:1:97"])
