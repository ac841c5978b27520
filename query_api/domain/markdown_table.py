"""Tables in the Markdown of GitHub."""

import re
from collections.abc import Sequence
from typing import Final

_SPECIAL: Final = re.compile(r"[\\`*_\[\]<>|~&$]")
_SPACE: Final = re.compile(r"[\s\x00-\x1f\x7f]+")


def escaped(text: str) -> str:
    """What shows as the text, on one line: without markup, links, HTML and ends of cells."""
    return _SPACE.sub(" ", _SPECIAL.sub(r"\\\g<0>", text)).strip()


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (list(map(escaped, titles)), ["---"] * len(titles), *(list(map(escaped, row)) for row in rows)))
