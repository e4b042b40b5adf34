"""The core reads no clock, no randomness, no environment and no socket; its arithmetic is exact or its own.

The same journal must give the same bits on every machine: see docs/architecture.md, "Determinism".
"""

import ast
import re
from pathlib import Path

import pytest

from tests.style.tree import code, files, line_of, text

BANNED_MODULES = {
    "asyncio", "http", "io", "multiprocessing", "os", "pathlib", "platform", "queue", "random",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib", "uuid", "uvloop", "locale", "logging",
}  # fmt: skip
BANNED_BUILTINS = {"open", "input", "print", "eval", "exec", "hash", "id", "float", "__import__"}
BANNED_METHODS = {"now", "utcnow", "today", "urandom", "getenv", "environ", "getrandbits", "default_rng"}
EXACT_MATH = {"isqrt", "gcd", "lcm", "comb", "ceil", "floor"}
# Plain files of exchange that divide exact rationals (fractions.Fraction).
RATIONAL_FILES = {"exchange/risk/scenarios.py"}
# Plain files of exchange that are declared to compute in floating point.
FLOAT_KERNELS: set[str] = set()

# Correctly rounded by IEEE 754, or not arithmetic at all: the same bits everywhere.
EXACT_LIBM = {
    "sqrt", "fabs", "floor", "ceil", "trunc", "rint", "nearbyint", "round", "lrint", "llrint", "lround",
    "llround", "fmin", "fmax", "copysign", "isnan", "isinf", "isfinite", "signbit", "INFINITY", "NAN",
    "HUGE_VAL",
}  # fmt: skip
LIBM = [
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "cbrt", "hypot", "sin", "cos",
    "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf",
    "erfc", "tgamma", "lgamma", "fma",
]  # fmt: skip
LIBM_CALL = re.compile(
    rf"(?<![\w.])(?<!def )(?:(?:np|numpy|math|cmath|scipy|libc\.math)\.)?(?:{'|'.join(LIBM)})[fl]?\s*\("
)
COMPILED_BANNED = re.compile(
    r"^\s*(?:c?import|from)\s+(?:time|random|asyncio|os|socket|secrets|select|threading|datetime|libc\.time|posix\.time"
    r"|posix\.unistd|uuid)\b"
    r"|\b(?:clock_gettime|gettimeofday|getenv|getrandom|getentropy|random_r|rand_r|srand|drand48|CLOCK_MONOTONIC)\b"
    r"|(?<![\w.])(?:rand|time|open|fopen|socket|print|printf|input)\s*\("
    r"|\bdatetime\.(?:now|utcnow|today)\b|\bos\.environ\b|\b(?:np|numpy)\.random\b",
    re.MULTILINE,
)
ASSERT_STATEMENT = re.compile(r"^\s*assert\b", re.MULTILINE)


def plain_findings(source: str, floats_allowed: bool, rationals: bool = False) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
            if node.module == "math":
                found += [(node.lineno, f"math.{a.name}") for a in node.names if a.name not in EXACT_MATH]
        else:
            names = []
        found += [(node.lineno, f"import {name}") for name in names if name.split(".")[0] in BANNED_MODULES]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_BUILTINS:
            found.append((node.lineno, f"{node.func.id}()"))
        if isinstance(node, ast.Attribute) and node.attr in BANNED_METHODS:
            found.append((node.lineno, f".{node.attr}"))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "math" and node.attr not in EXACT_MATH:
            found.append((node.lineno, f"math.{node.attr}"))
        if isinstance(node, ast.Assert):
            found.append((node.lineno, "assert (a flag removes it: raise explicitly)"))
        if not floats_allowed:
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                found.append((node.lineno, f"float literal {node.value}"))
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div) and not rationals:
                found.append((node.lineno, "true division"))
    return found


def compiled_findings(path: Path, core: bool) -> list[tuple[int, str]]:
    source = code(path)
    found = [(line_of(source, m.start()), m.group().strip()) for m in LIBM_CALL.finditer(source)]
    for match in re.finditer(r"from\s+libc\.math\s+cimport\s+(\([^)]*\)|[^\n]+)", source):
        names = re.split(r"[\s,()]+", match.group(1))
        found += [(line_of(source, match.start()), f"libm {name}") for name in names if name and name not in EXACT_LIBM]
    if core:
        found += [(line_of(source, m.start()), m.group().strip()) for m in COMPILED_BANNED.finditer(source)]
        if path.suffix != ".h":
            found += [(line_of(source, m.start()), "assert") for m in ASSERT_STATEMENT.finditer(source)]
    return found


def report(path: Path, found: list[tuple[int, str]]) -> list[str]:
    return [f"{path}:{line}: {what}" for line, what in sorted(found)]


def test_plain_core_is_pure() -> None:
    problems = []
    for path in files(".py", ".pyi", under=("exchange",)):
        name = path.as_posix()
        floats = path.suffix == ".pyi" or name in FLOAT_KERNELS
        problems += report(path, plain_findings(text(path), floats, rationals=name in RATIONAL_FILES))
    assert problems == []


def test_compiled_core_is_pure() -> None:
    problems = []
    for path in files(".pyx", ".pxd", ".pxi", ".h", under=("exchange",)):
        problems += report(path, compiled_findings(path, core=True))
    assert problems == []


def test_kernels_use_no_libm() -> None:
    problems = []
    for path in files(".pyx", ".pxd", ".pxi", ".h", under=("margin_ext",)):
        problems += report(path, compiled_findings(path, core=False))
    assert problems == []


def test_production_code_has_no_assert() -> None:
    problems = []
    for path in files(".py", under=("margin_ext", "persistence", "gateway")):
        tree = ast.parse(text(path))
        problems += report(path, [(n.lineno, "assert") for n in ast.walk(tree) if isinstance(n, ast.Assert)])
    for path in files(".pyx", ".pxi", under=("margin_ext", "persistence", "gateway")):
        source = code(path)
        problems += report(path, [(line_of(source, m.start()), "assert") for m in ASSERT_STATEMENT.finditer(source)])
    assert problems == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from os import environ",
        "from datetime import datetime\nx = datetime.now()",
        "import math\nx = math.exp(1)",
        "from math import log",
        "x = 1.5",
        "x = 1 / 2",
        "x = float('1')",
        "assert True",
        "x = open('a')",
        "x = hash('a')",
    ],
)
def test_the_plain_scan_finds(source: str) -> None:
    assert plain_findings(source, floats_allowed=False) != []


@pytest.mark.parametrize(
    "source",
    [
        "from libc.math cimport exp",
        "from libc.math cimport (sqrt,\n    pow)",
        "from libc.time cimport time",
        "import random",
        "cdef double x = log(2)",
        "x = np.exp(y)",
        "clock_gettime(CLOCK_REALTIME, &t)",
        "def f():\n    assert x",
    ],
)
def test_the_compiled_scan_finds(source: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pyx"
    path.write_text(source)
    assert compiled_findings(path, core=True) != []


def test_the_scans_let_exact_code_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.pyx"
    path.write_text("from libc.math cimport sqrt, fabs\n# import time\nx = 'log(2)'\ny = k_exp(z)\nexpiry(1)\n")
    assert compiled_findings(path, core=True) == []
    assert plain_findings("import math\nx = 7 // 2\ny = math.isqrt(9)\n", floats_allowed=False) == []
