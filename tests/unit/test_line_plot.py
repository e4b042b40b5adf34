"""The plots of the benches: well-formed, every point in its place."""

from xml.etree import ElementTree

import pytest

from loadtest.line_plot import Line, line_plot

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("log_y", [False, True])
def test_points_ascend_with_their_values(log_y: bool) -> None:
    lines = [
        Line("cost", [(1_000, 20.0), (100_000, 40.0), (1_000_000, 52.0)]),
        Line("floor", [(1_000, 5), (1_000_000, 6)]),
    ]
    root = ElementTree.fromstring(line_plot(lines, "title", "orders", "ns", log_y))
    dots = root.findall(f"{SVG}circle")
    assert len(dots) == 5 and len(root.findall(f"{SVG}polyline")) == 2
    places = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in dots[:3]]
    assert places == sorted(places, key=lambda place: (place[0], -place[1]))
    assert dots[0].find(f"{SVG}title").text == "cost: 1,000: 20 ns"
    texts = {text.text for text in root.findall(f"{SVG}text")}
    assert {"title", "orders", "cost", "floor", "1,000", "1,000,000"} <= texts


def test_one_point_stands_in_the_middle() -> None:
    root = ElementTree.fromstring(line_plot([Line("one", [(10, 3.0)])], "t", "x", "ms"))
    assert len(root.findall(f"{SVG}circle")) == 1
