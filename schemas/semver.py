"""Versions by Semantic Versioning 2.0.0 (semver.org): which of two comes first."""

import re

Precedence = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]
"""Compares like the versions it was made of; equal for versions that differ only in their build metadata."""

_NUMBER = r"0|[1-9]\d*"
_IDENTIFIER = rf"(?:{_NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_LONGEST = 256


def precedence(text: str) -> Precedence | None:
    """The precedence of a version (section 11 of the specification), or None when the text is not one.

    A pre-release comes before its release; of two pre-releases the identifiers decide from left to right, numbers by value and
    before words, words in ASCII order, and the longer list comes later when all of the shorter one is equal.
    """
    found = _VERSION.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    words = tuple((not word.isdigit(), int(word) if word.isdigit() else 0, word) for word in (found[4] or "").split(".") if word)
    return int(found[1]), int(found[2]), int(found[3]), not words, words
