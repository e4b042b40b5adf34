"""`python -m loadtest.bench engine|gateway|margin|matching|journal [--json]`."""

import argparse
import importlib
import sys

from loadtest.report import emit

NAMES = ("engine", "gateway", "margin", "matching", "journal")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 measured, 1 the measurement failed, 2 bad usage."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description="Measure this machine.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args(arguments)
    module = importlib.import_module(f"loadtest.bench_{options.name}")
    try:
        figures = module.figures()
    except (RuntimeError, OSError) as error:
        print(f"bench {options.name}: {error}", file=sys.stderr)
        return 1
    emit(figures, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
