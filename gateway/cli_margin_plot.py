"""P&L of a portfolio over price and vol moves as an SVG heat map, one panel per underlying held."""

from xml.etree import ElementTree

import numpy as np

from margin_ext import models

MOVES = np.round(np.linspace(-0.5, 0.5, 41), 6)
VOLS = np.round(np.linspace(0.5, 1.5, 21), 6)
CELL_WIDTH, CELL_HEIGHT = 16, 14
LEFT, TOP, GAP, LEGEND = 90, 48, 64, 120
LOSS, NOTHING, GAIN = (178, 24, 43), (247, 247, 247), (33, 102, 172)  # told apart without red-green vision


def heat_maps(p: models.Portfolio) -> str:
    """The SVG document. Colours are scaled by the largest |P&L| of the panel; every cell has its figure as a title."""
    held = sorted(set(p.underlying.tolist()))
    width = LEFT + len(MOVES) * CELL_WIDTH + LEGEND
    panel = TOP + len(VOLS) * CELL_HEIGHT + GAP
    size = {"width": str(width), "height": str(max(1, len(held)) * panel)}
    root = ElementTree.Element(
        "svg", {"xmlns": "http://www.w3.org/2000/svg", "font-family": "sans-serif", "font-size": "11", **size}
    )
    ElementTree.SubElement(root, "rect", {**size, "fill": "#ffffff"})
    for number, place in enumerate(held):
        group = ElementTree.SubElement(root, "g", {"transform": f"translate(0 {number * panel})"})
        _panel(group, p.underlyings[place].name, models.surface(p, MOVES, VOLS, place))
    if not held:
        _text(root, LEFT, TOP, "no positions")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _panel(group: ElementTree.Element, name: str, pnl: np.ndarray) -> None:
    """pnl [M, V] USD."""
    largest = float(np.abs(pnl).max())
    _text(group, LEFT, TOP - 24, f"{name}: P&L in USD over moves of price and vol", size="14")
    for row, vol in enumerate(VOLS[::-1].tolist()):
        y = TOP + row * CELL_HEIGHT
        for column, move in enumerate(MOVES.tolist()):
            value = float(pnl[column, len(VOLS) - 1 - row])
            cell = ElementTree.SubElement(
                group,
                "rect",
                {
                    "x": str(LEFT + column * CELL_WIDTH),
                    "y": str(y),
                    "width": str(CELL_WIDTH),
                    "height": str(CELL_HEIGHT),
                    "fill": colour(value / largest if largest else 0.0),
                },
            )
            ElementTree.SubElement(cell, "title").text = f"price {move:+.1%}, vol x {vol:g}: {value:,.2f} USD"
        if row % 5 == 0:
            _text(group, LEFT - 8, y + CELL_HEIGHT - 3, f"x {vol:g}", anchor="end")
    bottom = TOP + len(VOLS) * CELL_HEIGHT
    for column in range(0, len(MOVES), 5):
        _text(group, LEFT + (column + 0.5) * CELL_WIDTH, bottom + 16, f"{MOVES[column]:+.1%}", anchor="middle")
    _text(group, LEFT + len(MOVES) * CELL_WIDTH / 2, bottom + 34, "move of the price", anchor="middle")
    _text(group, 16, TOP + 12, "vol")
    _legend(group, largest)


def _legend(group: ElementTree.Element, largest: float) -> None:
    x = LEFT + len(MOVES) * CELL_WIDTH + 16
    for step in range(len(VOLS)):
        share = 1.0 - 2.0 * step / (len(VOLS) - 1)
        box = {"x": str(x), "y": str(TOP + step * CELL_HEIGHT), "width": "14", "height": str(CELL_HEIGHT)}
        ElementTree.SubElement(group, "rect", {**box, "fill": colour(share)})
        if step % 5 == 0:
            _text(group, x + 20, TOP + (step + 0.8) * CELL_HEIGHT, f"{share * largest:,.0f}")


def colour(share: float) -> str:
    """From the deepest loss (-1) over nothing (0) to the largest gain (1)."""
    end = GAIN if share > 0.0 else LOSS
    mixed = (round(a + (b - a) * abs(share)) for a, b in zip(NOTHING, end, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _text(parent: ElementTree.Element, x: float, y: float, text: str, anchor: str = "start", size: str = "11") -> None:
    at = {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor, "font-size": size, "fill": "#222222"}
    ElementTree.SubElement(parent, "text", at).text = text
