"""`python -m loadtest.plot_matching FILE.svg`: what a message costs in books that grow, measured now and drawn."""

import sys
from pathlib import Path

from loadtest.bench_matching import GROWTH_BOOKS, GROWTH_MESSAGES, GROWTH_RESTING, TWO_HUNDRED, growth
from loadtest.line_plot import Line, line_plot
from loadtest.workload_matching import Shape


def main(file: Path, runs: int = 5) -> None:
    """Measure both growths, write the plot, print the figures."""
    lines = []
    for name, base, field, sizes in (
        ("orders in one book", Shape(messages=GROWTH_MESSAGES), "resting", GROWTH_RESTING),
        ("books of 50 orders", TWO_HUNDRED._replace(messages=GROWTH_MESSAGES), "books", GROWTH_BOOKS),
    ):
        cost = growth([base._replace(**{field: size}) for size in sizes], runs)
        lines.append(Line(name, list(zip(map(float, sizes), cost, strict=True))))
        print(f"{name}: " + ", ".join(f"{size:,} {ns:.1f} ns" for size, ns in zip(sizes, cost, strict=True)))
        print(f"  growth {cost[-1] / cost[0]:.2f} x")
    title = "Matching: time of a message, compiled, median of runs"
    file.write_text(line_plot(lines, title, "resting orders, or books", "ns"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
