"""Imports run one way: gateway, loadtest -> persistence -> exchange -> margin_ext, and inside exchange
engine -> trading -> liquidation -> risk -> clearing -> market -> vocabulary.

import-linter reads plain modules only; the second half applies the same order to what compiled modules
import, cimport and include.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.style.tree import PACKAGES, ROOT, code, files, text

# Higher imports lower, never the other way; equal ranks are independent unless they are the same package.
PACKAGE_RANK = {"gateway": 4, "loadtest": 4, "persistence": 3, "exchange": 2, "margin_ext": 1}
ROOM_RANK = {
    "sequencer": 14,
    "engine": 13,
    "administration": 12,
    "what_if": 12,
    "reads": 11,
    "state": 10,
    "settlement": 9,
    "trading": 8,
    "invariants": 7,
    "listing": 7,
    "config_checks": 7,
    "liquidation": 5,
    "risk": 4,
    "clearing": 3,
    "market": 2,
}
# Inside the room `trading`, likewise.
TRADING_RANK = {
    "links": 5,
    "killswitch": 5,
    "buckets": 5,
    "advanced": 4,
    "triggers": 4,
    "quotes": 4,
    "uncross": 4,
    "blocks": 4,
    "transfers": 4,
    "lifecycle": 3,
    "dry_run": 2,
    "entry": 1,
    "combos": 1,
}
# Every other child of exchange is vocabulary or a foundation: all may import it, it imports no room.

IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(\([^)]*\)|[^\n]+)|c?import\s+([\w., ]+))", re.MULTILINE)
INCLUDE = re.compile(
    r'^\s*(?:#\s*include\s+"([^"]+)"|include\s+"([^"]+)"|cdef\s+extern\s+from\s+"([^"]+)")', re.MULTILINE
)


def references(path: Path) -> set[str]:
    """Dotted names that a compiled source imports, cimports or includes (relative imports resolved)."""
    found = set()
    for match in IMPORT.finditer(code(path)):
        base, names, plain = match.groups()
        if plain:
            found |= {part.split(" as ")[0].strip() for part in plain.split(",")}
            continue
        if base.startswith("."):
            level = len(base) - len(base.lstrip("."))
            base = ".".join([*path.parts[:-level], base.lstrip(".")]).rstrip(".")
        for name in re.split(r"[\s,()]+", re.sub(r"\bas\s+\w+", "", names)):
            if name:
                found.add(f"{base}.{name}")
    for match in INCLUDE.finditer(text(path)):
        target = next(group for group in match.groups() if group)
        place = path.parent / target if (ROOT / path.parent / target).exists() else Path(target)
        found.add(".".join(Path(os.path.normpath(place)).with_suffix("").parts))
    return found


def room(module: str) -> str:
    """The child of exchange that a dotted module name lies in."""
    return [*module.split("."), ""][1]


def problem(importer: str, imported: str) -> str | None:
    """Why this import is against the order, or None."""
    source, target = importer.split(".")[0], imported.split(".")[0]
    if target not in PACKAGE_RANK or source not in PACKAGE_RANK:
        return None
    if source != target:
        if PACKAGE_RANK[source] <= PACKAGE_RANK[target]:
            return f"{importer} imports {imported}: {source} stands below or beside {target}"
        if source == "exchange" and target == "margin_ext" and room(importer) != "risk":
            return f"{importer} imports {imported}: risk alone talks to margin_ext"
        return None
    if source != "exchange":
        return None
    low, high = room(importer), room(imported)
    ranks = ROOM_RANK
    if low == high == "trading":
        low, high, ranks = importer.split(".")[2], imported.split(".")[2], TRADING_RANK
    if low == high or high not in ranks:
        return None
    if ranks.get(low, 0) <= ranks[high]:
        return f"{importer} imports {imported}: {low} stands below or beside {high}"
    return None


def test_plain_modules_keep_the_contracts() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [str(linter), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compiled_modules_keep_the_same_order() -> None:
    problems = []
    for path in files(".pyx", ".pxd", ".pxi", ".h"):
        importer = ".".join(path.with_suffix("").parts)
        problems += [p for p in (problem(importer, imported) for imported in references(path)) if p]
    assert sorted(problems) == []


def test_every_package_has_a_place_in_the_order() -> None:
    assert set(PACKAGE_RANK) == set(PACKAGES)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("exchange.risk.exposure", "margin_ext.kernels.row_axpy", True),
        ("exchange.market.book", "margin_ext.kernels.row_axpy", False),
        ("margin_ext.kernels", "exchange.config.Config", False),
        ("exchange.engine", "exchange.liquidation.monitor.check", True),
        ("exchange.market.book", "exchange.clearing.ledger.post", False),
        ("exchange.market.book", "exchange.records.order", True),
        ("exchange.records", "exchange.market.book", False),
        ("exchange.engine", "persistence.journal.Journal", False),
        ("persistence.journal", "gateway.server", False),
        ("gateway.server", "loadtest.bots", False),
        ("gateway.server", "persistence.journal.Journal", True),
    ],
)
def test_the_order_itself(importer: str, imported: str, allowed: bool) -> None:
    assert (problem(importer, imported) is None) == allowed


def test_references_sees_every_form(tmp_path: Path) -> None:
    path = tmp_path / "a.pyx"
    path.write_text(
        "import numpy as np\nfrom exchange.market cimport book, (order)\ncimport margin_ext.kernels as k\n"
        'cdef extern from "margin_ext/portfolio.h" nogil:\n    pass\n'
        'include "exchange/risk/rows.pxi"\n# from gateway import x\n'
    )
    assert {
        "numpy",
        "exchange.market.book",
        "margin_ext.kernels",
        "margin_ext.portfolio",
        "exchange.risk.rows",
    } <= references(path)
    assert not any("gateway" in name for name in references(path))
