"""Files and functions stay short. The allow-lists name what is longer, and how long: they only shrink."""

import ast
import re
from pathlib import Path

from tests.style.tree import code, files, text

PLAIN_FILE_LINES = 300
COMPILED_FILE_LINES = 900
FUNCTION_LINES = 70

LONG_FILES = {
    "exchange/commands.py": 435,  # tables of record layouts
    "exchange/events.py": 515,  # likewise
    "persistence/insurance_fund.py": 330,
}
LONG_FUNCTIONS: dict[str, int] = {}


def plain_functions(path: Path) -> dict[str, int]:
    """Lines of each function of a .py file, decorators and docstring not counted."""
    found = {}
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            docstring = ast.get_docstring(node, clean=False) is not None
            if docstring and len(body) > 1:
                lines = (body[0].lineno - node.lineno) + (node.end_lineno - body[0].end_lineno)
            else:
                lines = node.end_lineno - node.lineno + 1
            found[f"{path}::{node.name}:{node.lineno}"] = lines
    return found


CYTHON_FUNCTION = re.compile(r"(?P<indent>[ ]*)(?:async +def|cpdef|cdef|def)\b(?!.*\bclass\b)[^=]*?(?P<name>\w+) *\(")


def compiled_functions(path: Path) -> dict[str, int]:
    """Lines of each function of a .pyx or .pxi file, by indentation, blank lines at the end not counted."""
    found = {}
    lines = code(path).split("\n")
    for start, line in enumerate(lines):
        match = CYTHON_FUNCTION.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        last = start
        depth = 0
        for number in range(start, len(lines)):
            body = lines[number]
            if number > start and depth == 0 and body.strip() and len(body) - len(body.lstrip()) <= indent:
                break
            depth += sum(body.count(mark) for mark in "([{") - sum(body.count(mark) for mark in ")]}")
            if body.strip():
                last = number
        found[f"{path}::{match['name']}:{start + 1}"] = last - start + 1
    return found


def header_functions(path: Path) -> dict[str, int]:
    """Lines of each function of a C header: from its unindented head to the unindented closing brace."""
    found = {}
    lines = code(path).split("\n")
    for start, line in enumerate(lines):
        if not re.match(r"[A-Za-z_].*\)\s*\{\s*$", line):
            continue
        end = next((n for n in range(start, len(lines)) if lines[n].startswith("}")), len(lines) - 1)
        name = re.findall(r"(\w+)\s*\(", line)
        found[f"{path}::{name[-1] if name else '?'}:{start + 1}"] = end - start + 1
    return found


def lengths() -> dict[str, int]:
    found: dict[str, int] = {}
    for path in files(".py"):
        found |= plain_functions(path)
    for path in files(".pyx", ".pxi"):
        found |= compiled_functions(path)
    for path in files(".h"):
        found |= header_functions(path)
    return found


def over(found: dict[str, int], allowed: dict[str, int]) -> list[str]:
    return [f"{name}: {lines} lines" for name, lines in found.items() if lines > allowed.get(name, 0)]


def test_files_are_short() -> None:
    found = {}
    for path in files(".py", ".pyi", ".pyx", ".pxd", ".pxi", ".h", ".lua"):
        limit = COMPILED_FILE_LINES if path.suffix in (".pyx", ".pxd", ".pxi", ".h") else PLAIN_FILE_LINES
        lines = text(path).count("\n")
        if lines > limit:
            found[path.as_posix()] = lines
    assert over(found, LONG_FILES) == []
    assert LONG_FILES.keys() - found.keys() == set(), "short enough now: remove its entry in LONG_FILES"


def test_functions_are_short() -> None:
    # Entries are path::name; where a name occurs twice in a file the longest counts.
    found: dict[str, int] = {}
    for name, lines in lengths().items():
        if lines > FUNCTION_LINES:
            key = name.rsplit(":", 1)[0]
            found[key] = max(lines, found.get(key, 0))
    assert over(found, LONG_FUNCTIONS) == []
    assert LONG_FUNCTIONS.keys() - found.keys() == set(), "short enough now: remove its entry in LONG_FUNCTIONS"


def test_the_measure_sees_long_functions(tmp_path: Path) -> None:
    body = "    x = 1\n" * 71
    plain = tmp_path / "a.py"
    plain.write_text(f"def long_one():\n{body}")
    compiled = tmp_path / "a.pyx"
    compiled.write_text(
        f"cdef class Book:\n    cdef int size\n\ncdef int long_one(\n    int a,\n) except -1:\n{body}\n\n"
        "def b():\n    pass\n"
    )
    header = tmp_path / "a.h"
    header.write_text("static int long_one(int a) {\n" + "    a++;\n" * 71 + "}\n")
    assert list(plain_functions(plain).values()) == [72]
    assert [n for k, n in compiled_functions(compiled).items() if "long_one" in k] == [74]
    assert list(header_functions(header).values()) == [73]
