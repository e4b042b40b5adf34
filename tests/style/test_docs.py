"""The pages' links lead somewhere, and what they name in the code exists."""

import re
from pathlib import Path

from exchange.config import Config, Limits, Liquidation, MatrixParameters
from tests.style.tree import ROOT, text, tracked

LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
FIELD = re.compile(r"`([a-z]+(?:_[a-z0-9]+)+)`")


def pages() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def test_relative_links_lead_to_files() -> None:
    assert {"README.md", "docs/architecture.md"} <= {path.as_posix() for path in pages()}
    broken = [
        f"{page}: {target}"
        for page in pages()
        for target in LINK.findall(text(page))
        if not (ROOT / page.parent / target).exists()
    ]
    assert broken == []


def test_configuration_named_in_the_risk_pages_exists() -> None:
    known = {name for struct in (Config, Limits, Liquidation, MatrixParameters) for name in struct.__struct_fields__}
    units = ("_ppm", "_ns", "_e6", "_per_side", "_every")
    for page in ("docs/margin.md", "docs/liquidation.md"):
        named = {name for name in FIELD.findall(text(Path(page))) if name.endswith(units)}
        assert named, page
        assert named - known == set(), page


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in pages() if path.parts[:2] == ("docs", "decisions"))
    assert numbers == list(range(1, len(numbers) + 1))
