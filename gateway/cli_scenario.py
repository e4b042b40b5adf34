"""`margrave scenario`: the scripted markets live in `loadtest` and run as a process of their own."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

Name = Literal[
    "flash-crash", "vol-spike", "oct-2025", "thin-book", "fund-empty", "cascade", "predator", "maker-default"
]


def scenario(
    name: Annotated[Name, typer.Argument(help="Which market.")],
    json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write the course as an SVG.")] = None,
    data: Annotated[Path | None, typer.Option(help="Recorded minutes of the index (oct-2025).")] = None,
    directory: Annotated[Path | None, typer.Option(help="Keep the venues' data directories here.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the population.")] = 1,
    accounts: Annotated[int, typer.Option(help="Size of the population.")] = 200,
    seconds: Annotated[int | None, typer.Option(help="End after so much venue time.")] = None,
    models: Annotated[str | None, typer.Option(help="Which margin models, by comma; all by default.")] = None,
) -> None:
    """Run a scripted market in venue time through the real engine, journal and fund, under each margin model."""
    command = [sys.executable, "-m", "loadtest.scenarios", name, "--seed", str(seed), "--accounts", str(accounts)]
    for option, value in (("plot", plot), ("data", data), ("directory", directory), ("seconds", seconds)):
        if value is not None:
            command += [f"--{option}", str(value)]
    command += ["--models", models] if models is not None else []
    try:
        raise SystemExit(subprocess.run(command + (["--json"] if json else []), check=False).returncode)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
