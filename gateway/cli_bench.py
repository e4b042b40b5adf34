"""`margrave bench`: the benchmarks live in `loadtest` and run as a process of their own."""

import subprocess
import sys
from typing import Annotated, Literal

import typer


def bench(
    name: Annotated[
        Literal["matching", "margin", "engine", "gateway", "journal"], typer.Argument(help="Which benchmark.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Figures as one JSON object.")] = False,
) -> None:
    """Measure this machine: figures with their goals, and peers measured in the same run."""
    command = [sys.executable, "-m", "loadtest.bench", name, *(["--json"] if json else [])]
    try:
        raise SystemExit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
