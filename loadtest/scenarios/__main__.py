"""`python -m loadtest.scenarios NAME [--json] [--plot FILE] [--data FILE] [--seed N] [--accounts N]`."""

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from gateway.feeds.index_path import PathError
from loadtest.report import progress
from loadtest.scenarios import plot, run
from loadtest.scenarios.scripts import SCRIPTS, recorded


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="margrave scenario", description="Run a scripted market.")
    parser.add_argument("name", choices=sorted(SCRIPTS))
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--plot", type=Path, help="an SVG of the course")
    parser.add_argument("--data", type=Path, help="recorded minutes of the index (oct-2025)")
    parser.add_argument("--directory", type=Path, help="keep the venues' data directories here")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--seconds", type=int, help="end the script after so much venue time")
    parser.add_argument("--models", default=",".join(run.MODELS), help="which margin models, by comma")
    options = parser.parse_args(given)
    options.models = options.models.split(",")
    unknown = [name for name in options.models if name not in run.MODELS]
    if unknown or not 1 <= options.accounts <= 100_000 or (options.seconds is not None and options.seconds < 1):
        parser.error(f"unknown models {unknown}" if unknown else "accounts and seconds must be positive")
    if options.data is not None and options.name != "oct-2025":
        parser.error("--data belongs to oct-2025")
    if options.directory is not None and options.directory.exists() and any(options.directory.iterdir()):
        parser.error(f"{options.directory} is not empty")
    return options


def main(given: list[str] | None = None) -> int:
    """Exit status: 0 all checks hold, 1 one does not, 2 bad usage."""
    options = _arguments(given)
    script = SCRIPTS[options.name]
    try:
        if options.data is not None:
            script = recorded(script, options.data)
    except (PathError, OSError) as error:
        print(f"margrave scenario: {error}", file=sys.stderr)
        return 2
    if options.seconds is not None:
        script = msgspec.structs.replace(script, seconds=min(script.seconds, options.seconds))
    outcomes = run.run_all(script, options.accounts, options.seed, options.directory, options.models)
    found = run.report(script, outcomes)
    if options.plot is not None:
        options.plot.write_text(plot.course(script, outcomes), encoding="utf-8")
    if options.json:
        print(msgspec.json.encode(found).decode(), flush=True)
    else:
        show(found)
    failed = [name for name, holds in found["checks"].items() if not holds]
    if failed:
        progress("does not hold: " + ", ".join(failed))
    return 1 if failed else 0


def show(found: dict) -> None:
    """A table: one row per figure, one column per model."""
    models = found["models"]
    table = Table(title=f"{found['scenario']}: {found['what']}")
    table.add_column("figure")
    for model in models:
        table.add_column(model, justify="right")
    for name in next(iter(models.values())):
        if name not in ("checks", "faults", "taken", "liquidated_by_kind"):
            values = [models[model][name] for model in models]
            table.add_row(name, *(f"{v:,.2f}" if isinstance(v, float) else str(v)[:16] for v in values))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
