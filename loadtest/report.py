"""Figures of the benches: what they were measured on, and how they are printed."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from margin_ext.kernels import instruction_set


class Figure(msgspec.Struct, omit_defaults=True):
    """One measured figure. `peers`: what others need for the same, in the same unit and run."""

    value: float
    unit: str
    goal: float | None = None
    peers: dict[str, float] = {}
    note: str = ""


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        model = platform.processor()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "kernels": instruction_set(),
    }


def rounded(value: float) -> float:
    """Four significant digits, whole numbers from 1,000 on."""
    return float(round(value)) if abs(value) >= 1_000 else float(f"{value:.4g}")


def progress(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


def emit(figures: dict[str, Figure], as_json: bool) -> None:
    """Print the figures: one JSON object, or a table."""
    if as_json:
        shown = {
            name: {
                "value": rounded(figure.value),
                "unit": figure.unit,
                "goal": figure.goal,
                "peers": {peer: rounded(value) for peer, value in figure.peers.items()},
                **({"note": figure.note} if figure.note else {}),
            }
            for name, figure in figures.items()
        }
        print(msgspec.json.encode({"machine": machine(), "figures": shown}).decode(), flush=True)
        return
    table = Table(title=" ".join(str(value) for value in machine().values()))
    for heading in ("figure", "value", "goal", "unit", "beside it", "note"):
        table.add_column(heading, justify="right" if heading in ("value", "goal") else "left")
    for name, figure in figures.items():
        peers = "\n".join(f"{peer}: {rounded(value):,.10g}" for peer, value in figure.peers.items())
        goal = "" if figure.goal is None else f"{figure.goal:,.10g}"
        table.add_row(name, f"{rounded(figure.value):,.10g}", goal, figure.unit, peers, figure.note)
    Console().print(table)
