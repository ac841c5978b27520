"""A span filter as a tree: what is written in a condition, typed, and nothing else.

`schemas.span_filter.parser` makes it, `schemas.span_filter.evaluate` applies it to a span in memory, and the readers of the query service
translate it into SQL. All three agree on what `schemas.span_filter.values` says about values.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "boolean", "time", "any"]
"""What an expression is: `any` for attributes, whose type only the stored value knows. A time is nanoseconds since the epoch."""
About = Literal["span", "trace"]
Path = tuple[str | int, ...]
"""Where an attribute is: its dotted name, or keys and places inside a nested value. Begins with a text."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; a number is a float, a time an int."""

    value: str | float | bool | int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Field:
    """A column of every span, by its name in `schemas.span_filter.names.FIELDS`."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute, or something inside one."""

    path: Path


@dataclass(frozen=True, slots=True)
class Result:
    """Label, score or explanation of the annotation of a name."""

    about: About
    name: str
    member: Literal["label", "score", "explanation"]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers; null where one of them is none, and for a division by zero."""

    operator: Literal["+", "-", "*", "/", "%"]
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Joined:
    """Two texts, one behind the other."""

    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Negative:
    """A number with the other sign."""

    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Cast:
    """A value read as a number or as text."""

    to: Literal["number", "text"]
    operand: "Expression"


Expression = Constant | Field | Attribute | Result | Arithmetic | Joined | Negative | Cast


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values compared as `kind`; null where one of them is null or cannot be read so. As `any` they are equal when of one type and equal."""

    operator: Literal["==", "!=", "<", "<=", ">", ">="]
    kind: Kind
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class OneOf:
    """Equal to one of these, compared as `kind`."""

    kind: Kind
    operand: Expression
    values: tuple[str | float | bool | int, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """A text within another, whatever the case of its letters. A list or an object contains what a text directly in it does."""

    part: Expression
    whole: Expression


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether there is no value; never null."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Annotated:
    """Whether there is an annotation of the name; never null."""

    about: About
    name: str


@dataclass(frozen=True, slots=True)
class HasParent:
    """Whether the parent is stored: false for a root, and for an orphan, whose parent is not there."""


@dataclass(frozen=True, slots=True)
class Always:
    """True or false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; null stays null."""

    part: "Condition"


@dataclass(frozen=True, slots=True)
class All:
    """`and`, as SQL has it: false beats null."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Some:
    """`or`, as SQL has it: true beats null."""

    parts: tuple["Condition", ...]


Condition = Comparison | OneOf | Contains | Missing | Annotated | HasParent | Always | Not | All | Some


def kind_of(expression: Expression) -> Kind:
    """What an expression gives."""
    match expression:
        case Constant(kind=kind) | Field(kind=kind):
            return kind
        case Attribute():
            return "any"
        case Result(member=member):
            return "number" if member == "score" else "text"
        case Cast(to=to):
            return to
        case Joined():
            return "text"
        case Arithmetic() | Negative():
            return "number"
