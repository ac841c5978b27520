"""Tables as text: whatever a cell holds, it shows as what it is and ends no cell, row or table."""

import csv
import html
import io
import re

import pytest

from query_api.domain import dataset_exports, latex_table, markdown_table

SPECIAL = "\\ { } $ & # % _ ^ ~ < > | ` ' \" [ ] *"
SHOWN = {
    r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|",
    r"\textasciigrave{}": "`", r"\textquotesingle{}": "'", r"\char34{}": '"', "{[}": "[", "{]}": "]", "{*}": "*", "-{}": "-", ",{}": ",",
    r"\{": "{", r"\}": "}", r"\$": "$", r"\&": "&", r"\#": "#", r"\%": "%", r"\_": "_",
}  # fmt: skip
"""What each piece of LaTeX typesets as."""
NASTY = (
    SPECIAL, r"\input{/etc/passwd}", "a & b \\\\ c", "100% of $5", "%", "x--y---z", "a,,b", "''", "[1]", "*", "\\", "\\\\[2cm]", "_a_^2", "Ünïcode 漢字",
    "[link](javascript:x)", "<script>alert(1)</script>", "**bold** ~~struck~~", "a|b\\|c", "&amp;", "![i](u)", "`code`",
)  # fmt: skip


def _typeset(latex: str) -> str:
    """What LaTeX shows; fails at a character that is special to it and stands by itself."""
    shown, rest = "", latex
    while rest:
        piece = next((piece for piece in sorted(SHOWN, key=len, reverse=True) if rest.startswith(piece)), rest[0])
        assert piece in SHOWN or piece not in SPECIAL.replace(" ", ""), f"{piece} in {latex}"
        shown, rest = shown + SHOWN.get(piece, piece), rest[len(piece) :]
    return shown


def test_every_special_character_of_latex_is_escaped() -> None:
    assert latex_table.escaped(SPECIAL) == (
        r"\textbackslash{} \{ \} \$ \& \# \% \_ \textasciicircum{} \textasciitilde{} \textless{} \textgreater{} \textbar{} "
        r"\textasciigrave{} \textquotesingle{} \char34{} {[} {]} {*}"
    )
    assert latex_table.escaped("a--b---c, d,,e - f") == "a-{}-b-{}-{}-c, d,{},e - f"


@pytest.mark.parametrize("text", NASTY)
def test_latex_shows_what_the_text_says(text: str) -> None:
    assert _typeset(latex_table.escaped(text)) == text
    (line,) = [line for line in latex_table.tabular(["t"], [[text]]).splitlines() if latex_table.escaped(text) in line]
    assert line == latex_table.escaped(text) + r" \\"


@pytest.mark.parametrize("text", NASTY)
def test_markdown_shows_what_the_text_says(text: str) -> None:
    escaped = markdown_table.escaped(text)
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped) == text
    # Nothing that could be markup is left by itself, and no entity.
    assert not re.search(r"[*_`\[\]<>|~&$]", re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped)) and html.unescape(escaped.replace("\\&", "")) == escaped.replace(
        "\\&", ""
    )
    _, _, row = markdown_table.table(["t", "u"], [[text, "end"]]).splitlines()
    assert row.endswith("| end |") and row.startswith(f"| {escaped} |")


def test_rows_are_lines() -> None:
    broken = "two\r\n lines\tand\x00\x1b more "
    assert latex_table.escaped(broken) == markdown_table.escaped(broken) == "two lines and more"
    assert markdown_table.table(["A", "B"], [["x", ""], [broken, "y"]]) == "| A | B |\n| --- | --- |\n| x |  |\n| two lines and more | y |\n"
    sheet = dataset_exports.table([{"t": broken}], ["t"]).decode()
    assert list(csv.reader(io.StringIO(sheet, newline="")))[1] == [broken]


def test_the_two_forms_of_latex() -> None:
    rows = [["a_b", "1"], ["[c]", ""]]
    assert latex_table.tabular(["X & Y", "Z"], rows) == (
        "\\begin{tabular}{ll}\n\\hline\nX \\& Y & Z \\\\\n\\hline\na\\_b & 1 \\\\\n{[}c{]} &  \\\\\n\\hline\n\\end{tabular}\n"
    )
    assert latex_table.publication(["X", "Z"], rows, "50% more.", "tab:x") == (
        "% Needs \\usepackage{booktabs}.\n\\begin{table}[htbp]\n\\centering\n\\caption{50\\% more.}\n\\label{tab:x}\n"
        "\\begin{tabular}{ll}\n\\toprule\nX & Z \\\\\n\\midrule\na\\_b & 1 \\\\\n{[}c{]} &  \\\\\n\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )
