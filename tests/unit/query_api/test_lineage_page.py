"""The drawing shows every station and every way, and is well-formed."""

import re
from xml.etree import ElementTree

from query_api.domain.lineage_page import COLUMNS, draw
from schemas.lineage import Edge, Node, lineage


def test_everything_is_drawn() -> None:
    nodes, edges = lineage()
    svg = draw(nodes, edges)
    ElementTree.fromstring(svg)
    assert {re.sub("&gt;", ">", name) for name in re.findall(r'data-id="([^"]+)"', svg)} == {node.name for node in nodes}
    assert len(re.findall(r'class="edge', svg)) == len(edges)


def test_every_kind_has_a_column() -> None:
    assert {node.kind for node in lineage()[0]} <= {kind for kinds in COLUMNS for kind in kinds}


def test_names_are_escaped() -> None:
    svg = draw([Node('topic:<"x">', "topic"), Node("agent:a", "agent")], [Edge('topic:<"x">', "consumes", "agent:a")])
    ElementTree.fromstring(svg)
    assert '<"x">' not in svg


def test_equal_graphs_give_equal_drawings() -> None:
    assert draw(*lineage()) == draw(*lineage())
