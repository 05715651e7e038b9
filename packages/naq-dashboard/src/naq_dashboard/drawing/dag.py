"""Lays a graph of jobs out in layers, from left to right, for the server to draw as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Arrow", "Drawing", "Node", "draw"]

WIDTH, HEIGHT = 190, 46
GAP_X, GAP_Y = 64, 18
MARGIN = 12
SWEEPS = 4


class Node(NamedTuple):
    """Where a node is; the upper left corner."""

    key: str
    x: float
    y: float


class Arrow(NamedTuple):
    """An arrow from a parent to its child."""

    parent: str
    child: str
    path: str
    """SVG path data."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph with places for its nodes and its edges."""

    places: list[Node]
    edges: list[Arrow]
    width: float
    height: float
    node_width: int = WIDTH
    node_height: int = HEIGHT


def draw(nodes: Sequence[tuple[str, Sequence[str]]]) -> Drawing:
    """Lay nodes out.

    Args:
        nodes: Each node's key and those of its parents. Parents that are not nodes are left out, and so is an edge that
            would close a circle: what was read while it changed must not break the page.
    """
    parents = _acyclic(nodes)
    layers = _layers(parents)
    for sweep in range(SWEEPS):
        _untangle(layers, parents, downwards=sweep % 2 == 0)
    tallest = max((len(layer) for layer in layers), default=0)
    places: dict[str, Node] = {}
    for column, layer in enumerate(layers):
        offset = (tallest - len(layer)) * (HEIGHT + GAP_Y) / 2
        for row, key in enumerate(layer):
            places[key] = Node(key, MARGIN + column * (WIDTH + GAP_X), MARGIN + offset + row * (HEIGHT + GAP_Y))
    edges = [Arrow(parent, key, _path(places[parent], places[key])) for key, above in parents.items() for parent in above]
    width = 2 * MARGIN + max(0, len(layers) * (WIDTH + GAP_X) - GAP_X)
    height = 2 * MARGIN + max(0, tallest * (HEIGHT + GAP_Y) - GAP_Y)
    return Drawing(list(places.values()), edges, width, height)


def _acyclic(nodes: Sequence[tuple[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Return each node's parents, without edges back to where they come from."""
    known = {key for key, _ in nodes}
    wanted = {key: [parent for parent in dict.fromkeys(above) if parent in known and parent != key] for key, above in nodes}
    done: dict[str, list[str]] = {}
    for root in wanted:
        stack = [root]
        open_nodes: set[str] = set()
        while stack:
            key = stack[-1]
            if key in done:
                stack.pop()
                continue
            open_nodes.add(key)
            missing = [parent for parent in wanted[key] if parent not in done and parent not in open_nodes]
            if missing:
                stack.append(missing[0])
                continue
            done[key] = [parent for parent in wanted[key] if parent in done]
            open_nodes.discard(key)
            stack.pop()
    return {key: done[key] for key in wanted}


def _layers(parents: dict[str, list[str]]) -> list[list[str]]:
    """Put each node one layer behind the last of its parents."""
    depth: dict[str, int] = {}
    for root in parents:
        stack = [root]
        while stack:
            key = stack[-1]
            missing = [parent for parent in parents[key] if parent not in depth]
            if missing:
                stack += missing
                continue
            depth[key] = 1 + max((depth[parent] for parent in parents[key]), default=-1)
            stack.pop()
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for key in parents:
        layers[depth[key]].append(key)
    return layers


def _untangle(layers: list[list[str]], parents: dict[str, list[str]], *, downwards: bool) -> None:
    """Sort each layer by where its neighbours are: fewer edges cross."""
    neighbours: dict[str, list[str]] = {key: [] for key in parents}
    for key, above in parents.items():
        for parent in above:
            if downwards:
                neighbours[key].append(parent)
            else:
                neighbours[parent].append(key)
    rows = {key: row / max(1, len(layer)) for layer in layers for row, key in enumerate(layer)}
    for layer in layers if downwards else reversed(layers):
        middle = {
            key: sum(rows[each] for each in neighbours[key]) / len(neighbours[key]) if neighbours[key] else rows[key]
            for key in layer
        }
        layer.sort(key=middle.__getitem__)
        rows |= {key: row / max(1, len(layer)) for row, key in enumerate(layer)}


def _path(parent: Node, child: Node) -> str:
    x1, y1 = parent.x + WIDTH, parent.y + HEIGHT / 2
    x2, y2 = child.x, child.y + HEIGHT / 2
    bend = (x1 + x2) / 2
    return f"M{x1:g},{y1:g} C{bend:g},{y1:g} {bend:g},{y2:g} {x2:g},{y2:g}"
