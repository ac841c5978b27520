"""The text of a span filter: parsed into Python's syntax tree, within limits, and every problem told with its place."""

import ast
import warnings
from typing import Final, NoReturn, cast

MAX_LENGTH: Final = 10_000
"""Longest condition, in characters."""
MAX_DEPTH: Final = 50
"""Most levels of operands inside each other."""
MAX_NODES: Final = 500
"""Most fields, literals and operators in one condition."""


class FilterError(ValueError):
    """A condition that cannot be understood."""

    def __init__(self, problem: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.problem = problem
        """What is wrong, with the fix where there is one."""
        self.line = line
        self.column = column
        """Character in the line, counted from 1."""


class Source:
    """A condition as text and as Python's syntax tree. Raises FilterError where it is none, or beyond a limit."""

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._lines = self._text.split("\n")
        self._nodes = 0
        if not self._text:
            raise FilterError("the condition is empty")
        if len(text) > MAX_LENGTH:
            raise FilterError(f"the condition has {len(text)} characters; {MAX_LENGTH} is the most")
        self.body = self._parsed()
        """The outermost expression."""

    def _parsed(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self._text, mode="eval").body
        except SyntaxError as error:
            raise self._unreadable(error) from None
        except (RecursionError, MemoryError):
            raise FilterError(f"the condition nests deeper than {MAX_DEPTH} levels; flatten it") from None
        except ValueError as error:
            raise FilterError(f"not text: {error}") from None

    def _unreadable(self, error: SyntaxError) -> FilterError:
        line, column = error.lineno or 1, error.offset or 0
        if not 0 < line <= len(self._lines) or not 0 < column <= len(self._lines[line - 1]):
            return FilterError("the condition ends too early", len(self._lines), len(self._lines[-1]) + 1)
        rest = self._lines[line - 1][column - 1 :]
        hint = "; write `==` to compare" if rest.startswith("=") else ""
        return FilterError(f"cannot be read from here on ({error.msg}){hint}", line, column)

    def fail(self, node: ast.AST, problem: str) -> NoReturn:
        """Raises FilterError at the node."""
        line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        column = len(self._lines[line - 1].encode()[:offset].decode(errors="replace")) + 1
        raise FilterError(problem, line, column)

    def count(self, node: ast.AST, depth: int) -> None:
        """Counts one more part at a depth. Raises FilterError beyond the limits."""
        self._nodes += 1
        if depth > MAX_DEPTH:
            self.fail(node, f"the condition nests deeper than {MAX_DEPTH} levels; flatten it")
        if self._nodes > MAX_NODES:
            self.fail(node, f"the condition has more than {MAX_NODES} parts; shorten it, or use `in` with a list")

    def shown(self, node: ast.AST) -> str:
        """The part as it is written, for messages."""
        segment = ast.get_source_segment(self._text, cast(ast.expr, node)) or ""
        return f"`{segment if len(segment) <= 60 else segment[:57] + '...'}`"
