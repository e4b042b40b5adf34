"""The course of a script as an SVG: index, accounts below maintenance, fund, and what was liquidated, over time."""

from xml.etree import ElementTree

from loadtest.line_plot import COLOURS, nice_steps, text
from loadtest.scenarios.measure import Point
from loadtest.scenarios.run import Outcome
from loadtest.scenarios.scripts import Script

WIDTH, PANEL = 760, 150
LEFT, RIGHT, TOP, GAP, BOTTOM = 96, 120, 34, 34, 44
PANELS = (
    ("index, USD", lambda point: point.index),
    ("accounts below maintenance", lambda point: float(point.below_maintenance)),
    ("insurance fund, USD", lambda point: point.fund),
    ("liquidated (and deleveraged, dashed), USD", lambda point: point.liquidated),
)


def course(script: Script, outcomes: list[Outcome]) -> str:
    """The document."""
    height = TOP + len(PANELS) * (PANEL + GAP) + BOTTOM
    box = {"width": str(WIDTH), "height": str(height)}
    root = ElementTree.Element(
        "svg", {"xmlns": "http://www.w3.org/2000/svg", "font-family": "sans-serif", "font-size": "12", **box}
    )
    ElementTree.SubElement(root, "rect", {**box, "fill": "#ffffff"})
    text(root, LEFT, 18, f"{script.name}: {outcomes[0].accounts} accounts")
    for number, (name, value) in enumerate(PANELS):
        top = TOP + number * (PANEL + GAP) + 14
        lines = [(one.model, [(p.second, value(p)) for p in one.points], "") for one in outcomes]
        if number == 3:
            dashed = [(one.model, [(p.second, p.deleveraged) for p in one.points], "5 4") for one in outcomes]
            lines += [line for line in dashed if line[1][-1][1] > 0]
        _panel(root, top, name, lines, script.seconds, number == 0)
    text(root, (LEFT + WIDTH - RIGHT) / 2, height - 10, "seconds of venue time", "middle")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


Lines = list[tuple[str, list[tuple[int, float]], str]]


def _panel(root: ElementTree.Element, top: float, name: str, lines: Lines, seconds: int, floating: bool) -> None:
    values = [y for _, points, _ in lines for _, y in points]
    low, high = (min(values) if floating else min(0.0, *values)), max(values)
    steps = nice_steps(low, high if high > low else low + 1.0)
    low, high = steps[0], steps[-1]

    def at(second: float, value: float) -> tuple[float, float]:
        across = LEFT + second / seconds * (WIDTH - LEFT - RIGHT)
        return across, top + PANEL - (value - low) / (high - low) * PANEL

    text(root, LEFT, top - 6, name)
    for value in steps:
        _, y = at(0, value)
        place = {"x1": str(LEFT), "x2": str(WIDTH - RIGHT), "y1": f"{y:.1f}", "y2": f"{y:.1f}", "stroke": "#dddddd"}
        ElementTree.SubElement(root, "line", place)
        text(root, LEFT - 8, y + 4, f"{value:,.0f}", "end")
    for second in (0, seconds // 4, seconds // 2, seconds * 3 // 4, seconds):
        text(root, at(second, low)[0], top + PANEL + 14, f"{second:,}", "middle")
    models = list(dict.fromkeys(model for model, _, _ in lines))
    for model, points, dash in lines:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(s, v) for s, v in points))
        style = {"fill": "none", "stroke": COLOURS[models.index(model) % len(COLOURS)], "stroke-width": "1.6"}
        if dash:
            style["stroke-dasharray"] = dash
        line = ElementTree.SubElement(root, "polyline", {"points": path, **style})
        ElementTree.SubElement(line, "title").text = f"{model}: {points[-1][1]:,.0f} at the end"
    for number, model in enumerate(models):
        colour = COLOURS[number % len(COLOURS)]
        text(root, WIDTH - RIGHT + 10, top + 12 + 16 * number, model, "start", colour)


__all__ = ["Point", "course"]
