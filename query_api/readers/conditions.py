"""Conditions over a table that are put together from several places, with the parameters they need."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Conditions:
    """Parts of a WHERE over `spans`, to be joined by AND, with their parameters. The parts may name `tenant` and `project` again."""

    sql: list[str]
    params: dict[str, Any] = field(default_factory=dict)

    def and_also(self, sql: str, **params: Any) -> "Conditions":
        """These and one more."""
        return Conditions([*self.sql, sql], {**self.params, **params})

    @property
    def where(self) -> str:
        """The parts as one expression."""
        return "\n  AND ".join(self.sql)
