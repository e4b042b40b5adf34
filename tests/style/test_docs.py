"""The pages' links lead somewhere, what they name in the code exists, and their examples print what they say."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from exchange.config import Config, Currency, Limits, Liquidation, MatrixParameters
from margin_ext.models import parameters, parameters_formula, portfolio_files
from tests.style.tree import ROOT, text, tracked

LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
PORTFOLIO = re.compile(r"```toml\n(.*?)```", re.DOTALL)
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
    sets = [one for one in (*vars(parameters).values(), *vars(parameters_formula).values()) if isinstance(one, type)]
    structs = (
        Config,
        Currency,
        Limits,
        Liquidation,
        MatrixParameters,
        *(s for s in sets if issubclass(s, parameters.Parameters)),
    )
    known = {name for struct in structs for name in struct.__struct_fields__}
    units = ("_ppm", "_ns", "_e6", "_per_side", "_every")
    for page in ("docs/margin.md", "docs/liquidation.md"):
        named = {name for name in FIELD.findall(text(Path(page))) if name.endswith(units)}
        assert named, page
        assert named - known == set(), page


def test_examples_of_the_margin_page_print_what_they_say() -> None:
    examples = EXAMPLE.findall(text(Path("docs/margin.md")))
    assert examples
    for source, expected in examples:
        done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == (expected, "")


def test_the_portfolio_of_the_margin_page_can_be_read() -> None:
    (source,) = PORTFOLIO.findall(text(Path("docs/margin.md")))
    case = portfolio_files.case(tomllib.loads(source))
    assert len(case.portfolio) == 1


def test_no_number_of_a_decision_is_used_twice() -> None:
    numbers = sorted(int(path.name[:4]) for path in pages() if path.parts[:2] == ("docs", "decisions"))
    assert numbers == sorted(set(numbers)) and numbers[0] == 1
