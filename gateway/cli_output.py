"""What every command says and how it ends: JSON or text on standard output, the rest on standard error.

Exit status: 0 success, 1 a check failed or the venue stopped, 2 the command was used wrongly.
"""

import sys
from typing import Any, NoReturn

import msgspec
from rich.console import Console

FAILED, MISUSED = 1, 2
PIPED_WIDTH = 120
"""Of tables that go to a file or a pipe."""
out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """One object on one line."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def fail(message: str, status: int) -> NoReturn:
    """Say why on standard error and end."""
    err.print(f"[red]margrave:[/red] {message}", markup=True)
    raise SystemExit(status)
