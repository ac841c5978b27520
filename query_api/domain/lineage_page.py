"""Draws the lineage graph as one SVG, without anything from elsewhere."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from schemas.lineage import Edge, Node

COLUMNS: Final = (("door", "store"), ("topic",), ("agent",), ("table",), ("reader",), ("path",))
"""Kinds from left to right."""
_TITLES: Final = ("Doors", "Topics", "Agents", "Tables", "Readers", "Answers")
_HUES: Final = ("#0e7490", "#7c3aed", "#b45309", "#15803d", "#be185d", "#1d4ed8")
_TIP: Final = (
    '<defs><marker id="tip" viewBox="0 0 6 6" refX="5.5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0 0L6 3L0 6z" fill="#98a2b3"/></marker></defs>'
)
_LINE, _GAP, _PAD, _HEAD, _BOX = 36, 110, 12, 40, 26
_CHAR = 7.3
"""Width of a character of the font, pixels."""
_SWEEPS = 8


class _Box(NamedTuple):
    x: float
    y: float
    width: float
    hue: str

    @property
    def middle(self) -> float:
        return self.y + _BOX / 2


def draw(nodes: Sequence[Node], edges: Sequence[Edge]) -> str:
    """An SVG element: one column per kind, data runs from left to right, and dashed where it goes back. Equal graphs give equal
    drawings."""
    labels = {node.name: node.name.partition(":")[2] for node in nodes}
    layers = _order([[node.name for node in nodes if node.kind in kinds] for kinds in COLUMNS], edges)
    height = max(len(layer) for layer in layers) * _LINE
    boxes: dict[str, _Box] = {}
    heads: list[str] = []
    x = float(_PAD)
    for layer, title, hue in zip(layers, _TITLES, _HUES, strict=True):
        width = max((len(labels[name]) for name in layer), default=0) * _CHAR + 24
        top = _HEAD + (height - len(layer) * _LINE) / 2
        boxes |= {name: _Box(x, top + place * _LINE, width, hue) for place, name in enumerate(layer)}
        heads.append(f'<text class="kind" x="{x:.0f}" y="18">{title}</text>')
        x += width + _GAP
    width, height = x - _GAP + _PAD, height + _HEAD
    body = [*heads, *(_edge(edge, boxes[edge.source], boxes[edge.target]) for edge in edges), *(_node(name, labels[name], boxes[name]) for name in labels)]
    return f'<svg role="img" aria-label="Lineage" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">{_TIP}{"".join(body)}</svg>'


def _order(layers: list[list[str]], edges: Sequence[Edge]) -> list[list[str]]:
    """Puts each node near its neighbours, so that fewer edges cross."""
    near: Mapping[str, list[str]] = defaultdict(list)
    for edge in edges:
        near[edge.source].append(edge.target)
        near[edge.target].append(edge.source)
    height = {name: (place + 0.5) / len(layer) for layer in layers for place, name in enumerate(layer)}
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = {name: sum(height[other] for other in near[name]) / len(near[name]) if near[name] else height[name] for name in layer}
            layer.sort(key=lambda name: (wanted[name], name))
            height |= {name: (place + 0.5) / len(layer) for place, name in enumerate(layer)}
    return layers


def _edge(edge: Edge, source: _Box, target: _Box) -> str:
    back = target.x <= source.x
    x1, x2 = (source.x, target.x + target.width) if back else (source.x + source.width, target.x)
    bend = (x2 - x1) / 2
    path = f"M{x1:.0f} {source.middle:.0f}C{x1 + bend:.0f} {source.middle:.0f} {x2 - bend:.0f} {target.middle:.0f} {x2:.0f} {target.middle:.0f}"
    return (
        f'<path class="edge{" back" if back else ""}" marker-end="url(#tip)" data-source="{escape(edge.source)}" data-target="{escape(edge.target)}" '
        f'd="{path}"><title>{escape(f"{edge.source} {edge.kind} {edge.target}")}</title></path>'
    )


def _node(name: str, label: str, box: _Box) -> str:
    return (
        f'<g class="node" data-id="{escape(name)}"><title>{escape(name)}</title>'
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{_BOX}" rx="7" stroke="{box.hue}"/>'
        f'<text x="{box.x + 12:.0f}" y="{box.y + 17:.0f}">{escape(label)}</text></g>'
    )
