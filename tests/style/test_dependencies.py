"""What is imported is declared: the packages by `dependencies`, the tests by these and the extra `test`."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.style.tree import PACKAGES, ROOT, files, text

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    lines = PROJECT["dependencies"] + [line for e in extras for line in PROJECT["optional-dependencies"][e]]
    return {normal(re.match(r"[\w.-]+", line).group()) for line in lines}


def imported(path: Path) -> set[str]:
    """Top-level names of the absolute imports of a file, wherever they stand in it."""
    found = set()
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES) - {"tests"}


def undeclared(paths: list[Path], allowed: set[str]) -> list[str]:
    owners = packages_distributions()
    return [
        f"{path} imports {name}"
        for path in paths
        for name in sorted(imported(path))
        if not {normal(owner) for owner in owners.get(name, [name])} & allowed
    ]


def test_packages_import_what_is_declared() -> None:
    assert undeclared(files(".py"), declared("data", "bench")) == []


def test_tests_import_what_is_declared() -> None:
    assert undeclared(files(".py", under=("tests",)), declared("test")) == []


def test_an_undeclared_import_is_seen() -> None:
    conftest = Path("tests/conftest.py")
    expected = [f"{conftest} imports hypothesis", f"{conftest} imports numpy"]
    assert undeclared([conftest], allowed={"pytest"}) == expected
