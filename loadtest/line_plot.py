"""Lines over a logarithmic axis as an SVG document, with nothing but the standard library."""

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 190, 30, 60
COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#762a83")


class Line(NamedTuple):
    """Named points, ascending x; all positive."""

    name: str
    points: Sequence[tuple[float, float]]


def nice_steps(low: float, high: float) -> list[float]:
    """Round values from at or below `low` to at or above `high` (which is greater), four to ten steps apart."""
    span = high - low
    step = 10.0 ** math.floor(math.log10(span))
    step = step if span / step >= 4 else step / 2 if span / step >= 2 else step / 5
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, last + 1)]


class _Axes:
    """Places values: x by its logarithm, y by its logarithm too where `log_y`."""

    def __init__(self, lines: Sequence[Line], log_y: bool):
        self.log_y = log_y
        xs = [x for line in lines for x, _ in line.points]
        ys = [y for line in lines for _, y in line.points]
        self.x0, self.x1 = math.log10(min(xs)), math.log10(max(xs))
        if log_y:
            self.y0, self.y1 = float(math.floor(math.log10(min(ys)))), float(math.ceil(math.log10(max(ys))))
            self.y1 = max(self.y1, self.y0 + 1)
            self.steps = [10.0**power for power in range(round(self.y0), round(self.y1) + 1)]
        else:
            self.steps = nice_steps(0.0, max(ys))
            self.y0, self.y1 = self.steps[0], self.steps[-1]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - self.x0) / (self.x1 - self.x0) if self.x1 > self.x0 else 0.5
        up = ((math.log10(y) if self.log_y else y) - self.y0) / (self.y1 - self.y0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def line_plot(lines: Sequence[Line], title: str, x_name: str, y_unit: str, log_y: bool = False) -> str:
    """The document: x logarithmic with a tick at every point of the first line, y from 0 or logarithmic."""
    axes = _Axes(lines, log_y)
    box = {"width": str(WIDTH), "height": str(HEIGHT)}
    root = ElementTree.Element(
        "svg", {"xmlns": "http://www.w3.org/2000/svg", "font-family": "sans-serif", "font-size": "12", **box}
    )
    ElementTree.SubElement(root, "rect", {**box, "fill": "#ffffff"})
    text(root, LEFT, TOP - 12, title)
    for value in axes.steps:
        _, y = axes.at(10.0**axes.x0, value)
        line = {"x1": str(LEFT), "x2": str(WIDTH - RIGHT), "y1": f"{y:.1f}", "y2": f"{y:.1f}", "stroke": "#dddddd"}
        ElementTree.SubElement(root, "line", line)
        text(root, LEFT - 8, y + 4, f"{value:g} {y_unit}", "end")
    for x, _ in lines[0].points:
        text(root, axes.at(x, axes.steps[-1])[0], HEIGHT - BOTTOM + 18, f"{x:,.0f}", "middle")
    text(root, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 40, x_name, "middle")
    for line, colour in zip(lines, COLOURS, strict=False):
        places = [axes.at(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        ElementTree.SubElement(
            root, "polyline", {"points": path, "fill": "none", "stroke": colour, "stroke-width": "2"}
        )
        for (x, y), (size, value) in zip(places, line.points, strict=True):
            dot = ElementTree.SubElement(root, "circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3", "fill": colour})
            ElementTree.SubElement(dot, "title").text = f"{line.name}: {size:,.0f}: {value:.4g} {y_unit}"
        text(root, places[-1][0] + 10, places[-1][1] + 4, line.name, "start", colour)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def text(
    parent: ElementTree.Element, x: float, y: float, words: str, anchor: str = "start", fill: str = "#222222"
) -> None:
    """Words at a place."""
    at = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "fill": fill}
    ElementTree.SubElement(parent, "text", at).text = words
