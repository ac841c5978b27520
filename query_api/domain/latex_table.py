"""Tables in LaTeX."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_ESCAPES: Final[Mapping[str, str]] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    # Packages for German and other languages give this character a meaning.
    '"': r"\char34{}",
    # Behind the end of a row these would be its options.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # Two of them in a row would be one other character.
    "-": "-{}",
    ",": ",{}",
}
_SPECIAL: Final = re.compile(r"[\\{}$&#%_^~<>|`'\"\[\]*]|-(?=-)|,(?=,)|[\s\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Formula:
    """A cell that is set as mathematics."""

    latex: str
    """What stands between the dollar signs, as it is."""


Cell = str | Formula


def escaped(text: str) -> str:
    """What typesets as the text, on one line."""
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], " "), text).strip()


def tabular(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A `tabular` of texts and formulas with lines of LaTeX's own, which needs no package."""
    return _tabular(titles, rows, (r"\hline",) * 3)


def publication(titles: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str, label: str) -> str:
    """A `table` that floats, with caption, label and the rules of the package booktabs. `label` is no text but a name."""
    inner = _tabular(titles, rows, (r"\toprule", r"\midrule", r"\bottomrule"))
    head = (r"% Needs \usepackage{booktabs}.", r"\begin{table}[htbp]", r"\centering", rf"\caption{{{escaped(caption)}}}", rf"\label{{{label}}}")
    return "\n".join((*head, inner + r"\end{table}", ""))


def _tabular(titles: Sequence[str], rows: Sequence[Sequence[Cell]], rules: tuple[str, str, str]) -> str:
    top, middle, bottom = rules
    lines = [rf"\begin{{tabular}}{{{'l' * len(titles)}}}", top, _row(titles), middle, *map(_row, rows), bottom, r"\end{tabular}", ""]
    return "\n".join(lines)


def _row(cells: Sequence[Cell]) -> str:
    return " & ".join(f"${cell.latex}$" if isinstance(cell, Formula) else escaped(cell) for cell in cells) + r" \\"
